#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Multipath routes in the commands of ip route: which nexthops come, go and stay, and that
# nothing is half done.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

# The error of ip itself; the kernel's own field holds 1 to 256, see bad_input.py.
weights_refused()
{
	local command weight

	family "$1"
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" weight 256 \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	for weight in 0 257; do
		for command in "add $prefix2" "replace $prefix"; do
			# shellcheck disable=SC2086 # words of a command
			check_fails "Error: argument \"$weight\" is wrong: \"weight\" is invalid" \
				ip_hub route $command nexthop dev hub via-wgpeer "${KEY[2]}" \
				nexthop dev hub via-wgpeer "${KEY[3]}" weight "$weight"
		done
	done
	check_eq "routes" "$prefix K1 256 K2 1" "$(ip_hub "-$1" -j route show proto boot |
		jq -r '.[] | "\(.dst) \([.nexthops[] | "\(.via_wgpeer) \(.weight)"] | join(" "))"' | names)"
	check_states 2
}

ipv4_commands()
{
	family 4
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	check_eq "nexthops" "K1 K2" "$(nexthops 4)"
	check ip_hub route replace "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after replace" "K2 K3" "$(nexthops 4)"
	# As with gateways: all nexthops as they are, or it is another route.
	check_fails "RTNETLINK answers: No such process" ip_hub route del "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops" "K2 K3" "$(nexthops 4)"
	check ip_hub route del "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "routes" "" "$(routes 4)"
}

# ipv4_del_by_key [dev DEV]: as with gateways, an IPv4 route goes as a whole, by its first
# nexthop alone
ipv4_del_by_key()
{
	local first second way words

	family 4
	for way in "via-wgpeer ${KEY[1]} via-wgpeer ${KEY[2]}" "via 10.0.0.1 via 10.0.0.2"; do
		read -ra words <<<"$way"
		first=("${words[@]:0:2}") second=("${words[@]:2:2}")
		check ip_hub route add "$prefix" nexthop dev hub "${first[@]}" \
			nexthop dev hub "${second[@]}"
		check_fails "RTNETLINK answers: No such process" \
			ip_hub route del "$prefix" "${second[@]}" "$@"
		check_eq "nexthops after del of the second" \
			"$(names <<<"${first[1]} ${second[1]}")" "$(nexthops 4)"
		check ip_hub route del "$prefix" "${first[@]}" "$@"
		check_eq "nexthops after del of the first" "" "$(nexthops 4)"
		check_states 0
	done
}

# As with gateways: of several nexthops those go that are there, and the status is an error if
# one is not.
ipv6_del_half()
{
	local hops way

	family 6
	new_key 99
	for way in "via-wgpeer ${KEY[1]} ${KEY[2]} ${KEY[3]} ${KEY[99]}" \
		"via fd00::1 fd00::2 fd00::3 fd00::99"; do
		read -ra hops <<<"$way"
		check ip_hub route add "$prefix" nexthop dev hub "${hops[@]:0:2}" \
			nexthop dev hub "${hops[0]}" "${hops[2]}" nexthop dev hub "${hops[0]}" "${hops[3]}"
		check_fails "RTNETLINK answers: No such process" ip_hub route del "$prefix" \
			nexthop dev hub "${hops[0]}" "${hops[4]}" nexthop dev hub "${hops[0]}" "${hops[2]}"
		check_eq "nexthops after del" "$(names <<<"${hops[1]} ${hops[3]}")" "$(nexthops 6)"
		check_fails "RTNETLINK answers: No such process" ip_hub route del "$prefix" \
			nexthop dev hub "${hops[0]}" "${hops[3]}" nexthop dev hub "${hops[0]}" "${hops[4]}"
		check_eq "nexthops after another" "$(names <<<"${hops[1]}")" "$(nexthops 6)"
		check ip_hub route del "$prefix"
	done
	check_states 0
}

# check_form ROUTE NEXTHOPS PEER...: replace the route by one with these words
check_form()
{
	# shellcheck disable=SC2086 # words of a command
	check ip_hub route replace "$prefix" $1
	check_eq "nexthops after replace by ${1//${KEY[2]}/K2}" "$2" "$(nexthops "$f")"
	check_spread "$addr" "${@:3}"
	check_states "$(grep -o "K[1-3]" <<<"$2" | wc -l)"
}

# A route of each form takes the place of one of each other, whole.
forms()
{
	local f=$1 key="dev hub via-wgpeer"

	family "$1"
	# For gateways alone, auto would leave it to AllowedIPs.
	set_mode on
	local plain="dev hub" way="via $gateway dev hub" one="$key ${KEY[1]}"
	local two="nexthop $key ${KEY[2]} nexthop $key ${KEY[3]}"

	check_form "$plain" hub p1
	check_form "$two" "K2 K3" p2 p3
	check_form "$plain" hub p1
	check_form "$one" K1 p1
	check_form "$two" "K2 K3" p2 p3
	check_form "$way" "$gateway" p2
	check_form "$two" "K2 K3" p2 p3
	check_form "$one" K1 p1
	check_form "$plain" hub p1
	check_form "$way" "$gateway" p2
	check_form "$one" K1 p1
	check_form "$way" "$gateway" p2
}

# A plain route and a multipath route may be beside each other, at one metric: the first
# decides, and replace takes its like. It is so with gateways too.
ipv6_two_lists()
{
	local i words

	family 6
	set_mode on
	for words in "via-wgpeer ${KEY[2]} via-wgpeer ${KEY[3]} via-wgpeer ${KEY[1]} K" \
		"via fd00::2 via fd00::3 via fd00::1 fd00::"; do
		read -ra i <<<"$words"
		check ip_hub route add "$prefix" dev hub
		check ip_hub route append "$prefix" dev hub "${i[@]:0:2}"
		check ip_hub route append "$prefix" dev hub "${i[@]:2:2}"
		check_eq "nexthops" "hub ${i[6]}2 ${i[6]}3" "$(nexthops 6)"
		check_spread "$addr" p1
		check ip_hub route replace "$prefix" dev hub "${i[@]:4:2}"
		check_eq "nexthops after replace by one with a way" "hub ${i[6]}1" "$(nexthops 6)"
		check ip_hub route append "$prefix" dev hub "${i[@]:0:2}"
		check ip_hub route del "$prefix" dev hub metric 1024
		check_eq "nexthops after del by the device" "${i[6]}1 ${i[6]}2" "$(nexthops 6)"
		check_spread "$addr" p1 p2
		check ip_hub route append "$prefix" dev hub
		check_eq "nexthops after append of a plain one" "${i[6]}1 ${i[6]}2 hub" "$(nexthops 6)"
		check_spread "$addr" p1 p2
		check ip_hub route replace "$prefix" dev hub mtu 1300
		check_eq "nexthops after replace by a plain one" "${i[6]}1 ${i[6]}2 hub" "$(nexthops 6)"
		check ip_hub -6 route flush "$prefix"
		check_eq "nexthops after flush" "" "$(nexthops 6)"
		check_states 0
	done
}

# A dump, and what looks for the routes of a device, pass from the first nexthop to
# what follows the last.
ipv6_between()
{
	local way words

	family 6
	check ip_hub link add other type dummy
	for words in "via-wgpeer ${KEY[2]} via-wgpeer ${KEY[3]} K2 K3" \
		"via fd00::2 via fd00::3 fd00::2 fd00::3"; do
		read -ra way <<<"$words"
		check ip_hub link set other up
		check ip_hub route add "$prefix" dev hub "${way[@]:0:2}"
		check ip_hub route append "$prefix" dev other
		check ip_hub route append "$prefix" dev hub "${way[@]:2:2}"
		check_eq "nexthops" "${way[*]:4} other" "$(nexthops 6)"
		check ip_hub link set other down
		check_eq "nexthops without the other device" "${way[*]:4}" "$(nexthops 6)"
		check ip_hub route del "$prefix"
		check_eq "nexthops when these are deleted" "" "$(nexthops 6)"

		check ip_hub link set other up
		check ip_hub route add "$prefix" dev hub
		check ip_hub route append "$prefix" dev other
		check ip_hub route replace "$prefix" nexthop dev hub "${way[@]:0:2}" \
			nexthop dev hub "${way[@]:2:2}"
		check_eq "nexthops after replace" "${way[*]:4} other" "$(nexthops 6)"
		check ip_hub -6 route flush "$prefix"
		check ip_hub link set other down
		check_eq "nexthops after flush" "" "$(nexthops 6)"
	done
	check ip_hub link del other
}

# Weights stay with their nexthops when others come and go.
ipv6_weights()
{
	family 6
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" weight 3
	check ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_three_to_one hub "$addr"
	check ip_hub route append "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" weight 4
	check_spread "$addr" p1 p2 p3
	check ip_hub route del "$prefix" via-wgpeer "${KEY[1]}"
	check_three_to_one hub "$addr"
}

ipv6_commands()
{
	local dev_only="Error: Device only routes can not be added for IPv6 using the multipath API."

	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route append "$prefix" via "$gateway" dev hub
	check_eq "nexthops after append" "K1 K2 $gateway" "$(nexthops 6)"
	check ip_hub route del "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops after del of K1" "K2 $gateway" "$(nexthops 6)"
	check ip_hub route append "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after append of two" "K2 $gateway K1 K3" "$(nexthops 6)"
	check ip_hub route del "$prefix" via "$gateway" dev hub
	check_eq "nexthops after del of the gateway" "K2 K1 K3" "$(nexthops 6)"
	check ip_hub route del "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after del of two" K1 "$(nexthops 6)"
	check ip_hub route replace "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after replace" "K2 K3" "$(nexthops 6)"
	check_states 2
	check ip_hub route del "$prefix"
	check_fails "$dev_only" ip_hub route add "$prefix" nexthop dev hub \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "routes" "" "$(routes 6)"
	check_states 0
}

# A failed request does not take out an older nexthop with a key and the gateway of one without.
ipv6_half_others()
{
	local prefix=fd01:3::/48 before

	check ip_hub route add "$prefix" nexthop via fe80::1 dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	before=$(routes 6 "$prefix")
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop via fe80::1 dev hub nexthop dev hub via-wgpeer "${KEY[2]}"
	check_eq "routes" "$before" "$(routes 6 "$prefix")"
}

# A nexthop that is rolled back has been told of: that it is gone again has to be told too.
ipv6_half_told()
{
	local pid

	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[1]}"
	nsenter --net="/run/netns/$hub" ip -6 monitor route >"$TMP/monitor" 2>&1 &
	pid=$!
	busywait listens_to_groups "$pid" || fail "ip monitor does not listen"
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[3]}"
	busywait grep -q "^$prefix2" "$TMP/monitor" || fail "no notification of the route after"
	kill "$pid"
	wait "$pid" 2>/dev/null
	check_eq "what was told last" "Deleted $prefix via-wgpeer K2 dev hub" \
		"$(names <"$TMP/monitor" | grep -v "^$prefix2" | tail -n 1 | sed -E 's/ +/ /g; s/(dev hub) .*/\1/')"
}

# One nexthop of several that is there already: the others do not come either.
ipv6_half_done()
{
	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops after append" K1 "$(nexthops 6)"
	check_fails "RTNETLINK answers: File exists" ip_hub route add "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "nexthops after add" K1 "$(nexthops 6)"
	check_fails "RTNETLINK answers: File exists" ip_hub route replace "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[2]}"
	check_eq "nexthops after replace" K1 "$(nexthops 6)"
	check_states 1
	check_send p1 hub "$addr"
	# The nexthop that was added is rolled back, not an older one with the same key.
	check ip_hub route append "$prefix" via "$gateway" dev hub via-wgpeer "${KEY[2]}"
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[2]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check_eq "nexthops after the second append" "K1 K2" "$(nexthops 6)"
	check_states 2
}

is_linkdown() { [[ $(ip_hub -6 route show "$1") == *linkdown* ]]; }

# The weights of those that stay are worked out anew, for which the kernel looks at the
# device of a sibling without carrier: lockdep wants to know it under RCU.
ipv6_half_without_carrier()
{
	local before

	family 6
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" nexthop via fe80::77 dev other \
		nexthop dev hub via-wgpeer "${KEY[1]}" nexthop dev hub via-wgpeer "${KEY[2]}"
	check ip_hub link set other carrier off
	busywait is_linkdown "$prefix" || fail "no nexthop without carrier"
	before=$(routes 6 "$prefix")
	check_fails "RTNETLINK answers: File exists" ip_hub route append "$prefix" \
		nexthop dev hub via-wgpeer "${KEY[3]}" nexthop dev hub via-wgpeer "${KEY[1]}"
	check_eq "routes" "$before" "$(routes 6 "$prefix")"
	check ip_hub link del other
}

for f in 4 6; do
	test_add "IPv$f: weights that there are not" weights_refused $f
	test_add "IPv$f: replace by each other form" forms $f
done
test_add "IPv4: replace and del" ipv4_commands
test_add "IPv4: del by the key of the first nexthop" ipv4_del_by_key
test_add "IPv4: del by key and device of the first nexthop" ipv4_del_by_key dev hub
test_add "IPv6: append, replace and del of single nexthops" ipv6_commands
test_add "IPv6: del of nexthops of which one is not there" ipv6_del_half
test_add "IPv6: a plain route beside a multipath route" ipv6_two_lists
test_add "IPv6: a plain route that was appended in between" ipv6_between
test_add "IPv6: weights after append and del" ipv6_weights
test_add "IPv6: what fails is not half done" ipv6_half_done
test_add "IPv6: what fails takes nothing of others with it" ipv6_half_others
test_add "IPv6: what fails is told to be undone" ipv6_half_told
test_add "IPv6: what fails beside a nexthop without carrier" ipv6_half_without_carrier

setup_hub 3
set_mode $MODE
in_hub sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1
tests_run
