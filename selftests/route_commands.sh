#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# via-wgpeer in every command of ip route: what the kernel made of it is what it
# shows, and the key survives each way in and out.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

# The error for replacing a route that is not there
declare -A NO_SUCH_ROUTE=([4]="RTNETLINK answers: No such file or directory"
	[6]="Error: Can not replace route - no match found.")
# And a route without a device: IPv6 looks for that before it looks at the key.
declare -A WITHOUT_DEVICE=([4]=$NEEDS_DEVICE [6]="RTNETLINK answers: No such device")
EEXIST="RTNETLINK answers: File exists"
ONE_ENCAP='Error: argument "via-wgpeer" is wrong: a nexthop has only one "encap" or "via-wgpeer"'
ESRCH="RTNETLINK answers: No such process"

# peers FAMILY PREFIX: the keys on all routes to the prefix, in their order
peers()
{
	ip_hub -j "-$1" route show exact "$2" | jq -r '[.[] | .. | .via_wgpeer? // empty] | join(" ")' |
		names
}

# check_peers FAMILY PREFIX KEYS
check_peers()
{
	check_eq "peers of $2" "$3" "$(peers "$1" "$2")"
}

add()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	if [[ $1 == 4 ]]; then
		check_eq "route" "$prefix via-wgpeer K2 dev hub scope link" "$(routes 4)"
	else
		check_eq "route" "$prefix via-wgpeer K2 dev hub" "$(routes 6)"
	fi
	check_fails "$EEXIST" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$EEXIST" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_peers "$1" "$prefix" K2
	check_send p2 hub "$addr"
}

append()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_peers "$1" "$prefix" "K2 K3"
	check_fails "$EEXIST" ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$EEXIST" ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_peers "$1" "$prefix" "K2 K3"
}

# The first of two IPv4 routes decides; IPv6 makes one multipath route of them.
prepend()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route prepend "$prefix" dev hub via-wgpeer "${KEY[3]}"
	if [[ $1 == 4 ]]; then
		check_peers 4 "$prefix" "K3 K2"
		check_send p3 hub "$addr"
		check ip_hub route del "$prefix" dev hub via-wgpeer "${KEY[3]}"
		check_send p2 hub "$addr"
	else
		check_peers 6 "$prefix" "K2 K3"
	fi
}

replace_and_change()
{
	family "$1"
	check_fails "${NO_SUCH_ROUTE[$f]}" ip_hub route change "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_peers "$1" "$prefix" ""
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_peers "$1" "$prefix" K2
	check_send p2 hub "$addr"
	check ip_hub route change "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_peers "$1" "$prefix" K3
	check_send p3 hub "$addr"
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check_peers "$1" "$prefix" K1
	check_send p1 hub "$addr"
	check ip_hub route replace "$prefix" via "$gateway" dev hub
	check_peers "$1" "$prefix" ""
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_peers "$1" "$prefix" K2
	check_states 1
}

del_by_prefix()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route del "$prefix"
	check_peers "$1" "$prefix" ""
	check_peers "$1" "$prefix2" K2
	check ip_hub route del "$prefix2" dev hub
	check_peers "$1" "$prefix2" ""
	check_fails "$ESRCH" ip_hub route del "$prefix2" dev hub
	check_states 0
}

# del_by_key FAMILY [dev DEV]
del_by_key()
{
	local f=$1 before
	shift

	family "$f"
	new_key 99
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route add "$prefix2" via "$gateway" dev hub
	before=$(ip_hub "-$f" route show)
	check_fails "$ESRCH" ip_hub route del "$prefix" via-wgpeer "${KEY[99]}" "$@"
	check_fails "$ESRCH" ip_hub route del "$prefix2" via-wgpeer "${KEY[2]}" "$@"
	check_fails "$ESRCH" ip_hub route del "$prefix3" via-wgpeer "${KEY[2]}" "$@"
	check_fails "$ESRCH" ip_hub route del "$prefix" via-wgpeer "${KEY[2]}" dev ul
	check_eq "routes after these failures" "$before" "$(ip_hub "-$f" route show)"
	check ip_hub route del "$prefix" via-wgpeer "${KEY[3]}" "$@"
	check_peers "$f" "$prefix" "K2 K1"
	check ip_hub route del "$prefix" via-wgpeer "${KEY[2]}" "$@"
	check_peers "$f" "$prefix" K1
	check_fails "$ESRCH" ip_hub route del "$prefix" via-wgpeer "${KEY[2]}" "$@"
	check_peers "$f" "$prefix" K1
	check ip_hub route del "$prefix" via-wgpeer "${KEY[1]}" "$@"
	check_peers "$f" "$prefix" ""
}

# As with gateways: the same prefix with another metric is another route.
metrics()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 10
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 20
	check_fails "$EEXIST" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}" metric 20
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}" metric 30
	check_peers "$1" "$prefix" "K2 K2 K3"
	check ip_hub route del "$prefix" via-wgpeer "${KEY[2]}" metric 20
	check_peers "$1" "$prefix" "K2 K3"
	check_fails "$ESRCH" ip_hub route del "$prefix" via-wgpeer "${KEY[2]}" metric 30
	check_peers "$1" "$prefix" "K2 K3"
}

# The other attributes of a route stay with it.
attributes()
{
	local shown

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" table 100 proto static \
		metric 7 mtu 1280
	shown=$(ip_hub "-$1" route show table 100 | names)
	[[ $shown == "$prefix via-wgpeer K2 dev hub proto static "*"metric 7 mtu 1280"* ]] ||
		fail "shown: $shown"
	check_peers "$1" "$prefix" ""
	check ip_hub route del "$prefix" via-wgpeer "${KEY[2]}" table 100
	check_eq "table 100" "" "$(ip_hub "-$1" route show table 100 2>/dev/null)"
}

get()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	[[ $(ip_hub route get "$addr" | names) == "$addr "*"via-wgpeer K2 dev hub "* ]] ||
		fail "ip route get: $(ip_hub route get "$addr" | names)"
	check_eq "ip -j route get" K2 \
		"$(ip_hub -j route get "$addr" | jq -r '.[0].via_wgpeer' | names)"
	check_eq "ip -j route get fibmatch" "$prefix K2" \
		"$(ip_hub -j route get fibmatch "$addr" | jq -r '.[0] | "\(.dst) \(.via_wgpeer)"' | names)"
}

json()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "route with one nexthop" '["K2","hub",null]' \
		"$(ip_hub -j "-$1" route show "$prefix" |
			jq -c '.[0] | [.via_wgpeer, .dev, .nexthops]' | names)"
	check_eq "route with two nexthops" '[null,[["K2","hub"],["K3","hub"]]]' \
		"$(ip_hub -j "-$1" route show "$prefix2" |
			jq -c '.[0] | [.via_wgpeer, [.nexthops[] | [.via_wgpeer, .dev]]]' | names)"
}

# destinations FAMILY SELECTOR...: of the routes that ip shows
destinations()
{
	local f=$1
	shift

	ip_hub -j "-$f" route show "$@" | jq -r '[.[].dst] | join(" ")'
}

show_by_key()
{
	family "$1"
	new_key 99
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$prefix3" nexthop dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	check_eq "routes through K1" "$prefix3" "$(destinations "$1" via-wgpeer "${KEY[1]}")"
	check_eq "routes through K2" "$prefix $prefix3" "$(destinations "$1" via-wgpeer "${KEY[2]}")"
	check_eq "routes through K3" "$prefix2" "$(destinations "$1" via-wgpeer "${KEY[3]}")"
	check_eq "routes through K99" "" "$(destinations "$1" via-wgpeer "${KEY[99]}")"
	check_eq "routes through K2 on another device" "" \
		"$(destinations "$1" via-wgpeer "${KEY[2]}" dev ul)"
}

flush_by_key()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route append "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix3" via "$gateway" dev hub
	check ip_hub "-$1" route flush via-wgpeer "${KEY[3]}"
	# The key of a sibling selects the whole route.
	if [[ $1 == 4 ]]; then
		check_peers 4 "$prefix" K2
	else
		check_peers 6 "$prefix" ""
	fi
	check_peers "$1" "$prefix2" K2
	check ip_hub "-$1" route flush via-wgpeer "${KEY[2]}"
	check_peers "$1" "$prefix2" ""
	check_eq "what is left" "$prefix3" "$(destinations "$1" proto boot)"
}

# A route that is longer than what ip used to have room for, alone and after another
flush_many()
{
	local hops=() i

	family "$1"
	for ((i = 0; i < 65; i++)); do
		hops+=(nexthop dev hub via-wgpeer "$(head -c 32 /dev/urandom | base64)")
	done
	ip_hub route add "$prefix2" "${hops[@]}" 2>/dev/null || fail "no route with 65 nexthops"
	check ip_hub "-$1" route flush proto boot
	check_eq "what is left" "" "$(destinations "$1" proto boot)"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	ip_hub route add "$prefix2" "${hops[@]}" 2>/dev/null || fail "no route with 65 nexthops"
	check ip_hub route add "$prefix3" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$1" route flush proto boot
	check_eq "what is left" "" "$(destinations "$1" proto boot)"
}

save_and_restore()
{
	local before

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" mtu 1300
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[1]}" metric 2000
	check ip_hub route add "$prefix3" nexthop dev hub via-wgpeer "${KEY[1]}" weight 2 \
		nexthop via "$gateway" dev hub
	before=$(ip_hub -d "-$1" route show proto boot)
	ip_hub "-$1" route save proto boot >"$TMP/routes" || fail "ip route save fails"
	check ip_hub "-$1" route flush proto boot
	check_eq "routes after the flush" "" "$(destinations "$1" proto boot)"
	ip_hub "-$1" route restore <"$TMP/routes" || fail "ip route restore fails"
	check_eq "restored routes" "$before" "$(ip_hub -d "-$1" route show proto boot)"
}

monitor()
{
	local pid

	family "$1"
	nsenter --net="/run/netns/$hub" ip "-$1" monitor route >"$TMP/monitor" 2>&1 &
	pid=$!
	busywait listens_to_groups "$pid" || fail "ip monitor does not listen"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route del "$prefix" via-wgpeer "${KEY[3]}"
	busywait lines "$TMP/monitor" 3 || fail "fewer than 3 notifications"
	kill "$pid"
	wait "$pid" 2>/dev/null
	check_eq "notifications" "$prefix via-wgpeer K2 dev hub
$prefix via-wgpeer K3 dev hub
Deleted $prefix via-wgpeer K3 dev hub" \
		"$(names <"$TMP/monitor" | sed -E 's/ +/ /g; s/(dev hub) .*/\1/')"
}

batch()
{
	family "$1"
	cat >"$TMP/batch" <<-END
		route add $prefix dev hub via-wgpeer ${KEY[2]}
		route add $prefix2 via-wgpeer ${KEY[3]} dev hub
		route del $prefix via-wgpeer ${KEY[2]}
	END
	check ip_hub -batch "$TMP/batch"
	check_peers "$1" "$prefix" ""
	check_peers "$1" "$prefix2" K3
}

# A gateway beside the key is shown, says which route is meant, and leads nowhere.
gateway_and_key()
{
	local no_way="Error: Nexthop has invalid gateway."

	family "$1"
	[[ $1 == 4 ]] || no_way="RTNETLINK answers: No route to host"
	check ip_hub route add "$prefix" via "$gateway" dev hub via-wgpeer "${KEY[3]}"
	check_eq "route" "$gateway K3" \
		"$(ip_hub -j "-$1" route show "$prefix" | jq -r '.[0] | "\(.gateway) \(.via_wgpeer)"' | names)"
	check_send p3 hub "$addr"
	check_fails "$ESRCH" ip_hub route del "$prefix" via "$gateway" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$ESRCH" ip_hub route del "$prefix" via "$nobodys" dev hub via-wgpeer "${KEY[3]}"
	check_peers "$1" "$prefix" K3
	check ip_hub route del "$prefix" via "$gateway" dev hub via-wgpeer "${KEY[3]}"

	# With onlink, any address will do.
	check_fails "$no_way" ip_hub route add "$prefix" via "$nobodys" dev hub via-wgpeer "${KEY[2]}"
	check_states 0
	count_from_now
	check ip_hub route add "$prefix" via "$nobodys" dev hub via-wgpeer "${KEY[2]}" onlink
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters tx-wgpeer=1 rx-wgpeer=1 rx-drop-peer=1
	check ip_hub route replace "$prefix" nexthop via "$nobodys" dev hub via-wgpeer "${KEY[3]}" onlink \
		nexthop via "$nobodys" dev hub via-wgpeer "${KEY[2]}" onlink
	check_peers "$1" "$prefix" "K3 K2"
	check ip_hub route del "$prefix"
	check_peers "$1" "$prefix" ""
}

# Requests that the kernel refuses; those that ip can not even send are in bad_input.py.
wrong_device()
{
	family "$1"
	check_fails "$NEEDS_WIREGUARD" ip_hub route add "$prefix" dev ul via-wgpeer "${KEY[2]}"
	check_fails "$NEEDS_WIREGUARD" ip_hub route replace "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev ul via-wgpeer "${KEY[2]}"
	check_fails "${WITHOUT_DEVICE[$f]}" ip_hub route add "$prefix" via-wgpeer "${KEY[2]}"
	check_eq "routes" "" "$(destinations "$1" proto boot)"
	check ip_hub route add "$prefix" dev hub
	check_fails "$NEEDS_WIREGUARD" ip_hub route replace "$prefix" dev ul via-wgpeer "${KEY[2]}"
	check_fails "${WITHOUT_DEVICE[$f]}" ip_hub route replace "$prefix" via-wgpeer "${KEY[2]}"
	check_eq "routes" "$prefix" "$(destinations "$1" dev hub proto boot)"
	check_states 0
}

# by_protocol FAMILY PREFIX: who made the routes, and their metrics
by_protocol()
{
	ip_hub -j "-$1" -details route show exact "$2" |
		jq -r 'map("\(.protocol)=\(.metric)") | join(" ")'
}

# prefix_of_address FAMILY ADDRESS PREFIX: the kernel's route for an address comes and
# goes with it, another for the same prefix does not.
prefix_of_address()
{
	local address own_prefix=$3 via way

	family "$1"
	read -ra address <<<"$2 dev hub"
	for via in "" "via $gateway"; do
		read -ra way <<<"$via"
		check ip_hub address add "${address[@]}"
		check ip_hub route add "$own_prefix" dev hub metric 32 via-wgpeer "${KEY[2]}" "${way[@]}"
		check ip_hub address change "${address[@]}" metric 300
		check_eq "routes" "boot=32 kernel=300" "$(by_protocol "$1" "$own_prefix")"
		check ip_hub address del "${address[@]}"
		check_eq "routes without the address" "boot=32" "$(by_protocol "$1" "$own_prefix")"
		check_peers "$1" "$own_prefix" K2
		check ip_hub route del "$own_prefix"
		check_states 0
	done
}

not_a_key()
{
	local key

	family "$1"
	for key in "" abc "${KEY[2]%=}" "${KEY[2]}=" "${KEY[2]:0:42}%=" "${KEY[2]%?=}B="; do
		[[ $key != "${KEY[2]}" ]] || continue
		check_fails "Error: argument \"$key\" is wrong: not a WireGuard public key (44 characters of base64)" \
			ip_hub route add "$prefix" dev hub via-wgpeer "$key"
	done
	check_fails "$ONE_ENCAP" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" via-wgpeer "${KEY[3]}"
	check_eq "routes" "" "$(destinations "$1" proto boot)"
}

for f in 4 6; do
	test_add "IPv$f: add" add $f
	test_add "IPv$f: append" append $f
	test_add "IPv$f: prepend" prepend $f
	test_add "IPv$f: replace and change" replace_and_change $f
	test_add "IPv$f: del by prefix" del_by_prefix $f
	test_add "IPv$f: del by prefix and key" del_by_key $f
	test_add "IPv$f: del by prefix, key and device" del_by_key $f dev hub
	test_add "IPv$f: routes that differ in the metric" metrics $f
	test_add "IPv$f: other attributes and another table" attributes $f
	test_add "IPv$f: get" get $f
	test_add "IPv$f: JSON" json $f
	test_add "IPv$f: show by key" show_by_key $f
	test_add "IPv$f: flush by key" flush_by_key $f
	test_add "IPv$f: flush of routes with many nexthops" flush_many $f
	test_add "IPv$f: save and restore" save_and_restore $f
	test_add "IPv$f: monitor" monitor $f
	test_add "IPv$f: batch" batch $f
	test_add "IPv$f: a gateway and a key" gateway_and_key $f
	test_add "IPv$f: a wrong device or none" wrong_device $f
	test_add "IPv$f: what is no key" not_a_key $f
done
test_add "IPv4: the route of an address and another" prefix_of_address 4 10.9.0.1/24 10.9.0.0/24
test_add "IPv6: the route of an address and another" prefix_of_address 6 fd09::1/64 fd09::/64
test_add "IPv4: the route of the other end and another" prefix_of_address 4 \
	"10.9.0.1 peer 10.9.0.2/32" 10.9.0.2
test_add "IPv6: the route of the other end and another" prefix_of_address 6 \
	"fd09::1 peer fd09::2/128" fd09::2

setup_hub 3
set_mode $MODE
tests_run
