#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# wgvia route: as ip route with via-wgpeer, for people whose ip does not know it.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

# wgvia_route WORD...
wgvia_route() { in_hub wgvia route "$@"; }

# check_route_fails STATUS TEXT WORD...
check_route_fails()
{
	local status=$1 text=$2 out
	shift 2

	out=$(wgvia_route "$@" 2>&1)
	check_eq "exit status of: wgvia route $*" "$status" $?
	check_eq "error of: wgvia route $*" "wgvia: $text" "$out"
}

# as_ip_does FAMILY: the kernel has the same route from both
as_ip_does()
{
	local words

	family "$1"
	while read -r words; do
		# shellcheck disable=SC2086 # words
		check ip_hub route add $prefix dev hub via-wgpeer "${KEY[2]}" table 100 $words
		# shellcheck disable=SC2086 # words
		check wgvia_route add $prefix dev hub via-wgpeer "${KEY[2]}" table 1000 $words
		[[ -n $(routes "$f" table 100) ]] || fail "no route with: $words"
		check_eq "route with: $words" "$(routes "$f" table 100)" "$(routes "$f" table 1000)"
		ip_hub "-$f" route flush table 100
		ip_hub "-$f" route flush table 1000
	done <<-END

		metric 7
		src $hub_addr
		metric 4294967295 src $hub_addr
	END
}

# changes FAMILY
changes()
{
	family "$1"
	check wgvia_route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_send p2 hub "$addr"
	check_route_fails 1 "such a route exists: replace it, or append to it" \
		add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check wgvia_route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_send p3 hub "$addr"
	check_bindings "K3=1"
	check wgvia_route append "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_bindings "K2=1 K3=1"

	# Only what has all that is given
	check_route_fails 1 "no such route" del "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check_route_fails 1 "no such route" del "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 7
	check_route_fails 1 "FIB table does not exist" \
		del "$prefix" dev hub via-wgpeer "${KEY[2]}" table 7
	check_route_fails 1 "no such route" del "$longer" dev hub via-wgpeer "${KEY[2]}"
	check_bindings "K2=1 K3=1"
	check wgvia_route del "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_bindings "K3=1"
	check wgvia_route del "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_bindings ""
	check_send ENETUNREACH hub "$addr"
}

# shown FAMILY: in words that make the same routes again
shown()
{
	local before line

	family "$1"
	check wgvia_route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 5
	check wgvia_route add "$prefix2" dev hub via-wgpeer "${KEY[3]}" table 1000 metric 5 src "$hub_addr"
	check ip_hub route add "$prefix3" dev hub metric 5
	check_eq "routes" "$prefix dev hub via-wgpeer K2 metric 5
$prefix2 dev hub via-wgpeer K3 table 1000 metric 5 src $hub_addr" "$(wgvia_route | names | sort)"
	check_eq "the same with show" "$(wgvia_route)" "$(wgvia_route show)"
	check_eq "the same of a device" "$(wgvia_route)" "$(wgvia_route dev hub)"
	check_eq "of a table" "$prefix2" "$(wgvia_route show table 1000 | cut -d' ' -f1)"
	check_eq "of a peer" "$prefix" "$(wgvia_route show via-wgpeer "${KEY[2]}" | cut -d' ' -f1)"
	check_eq "of a peer without any" "" "$(wgvia_route show via-wgpeer "${KEY[1]}")"
	check_eq "of another device" "" "$(wgvia_route show dev ul)"
	check_eq "as JSON" \
		"[{\"dst\":\"$prefix2\",\"dev\":\"hub\",\"via_wgpeer\":\"K3\",\"table\":1000,\"metric\":5,\"prefsrc\":\"$hub_addr\"}]" \
		"$(in_hub wgvia -j route show dev hub table 1000 | names)"

	before=$(wgvia_route)
	ip_hub "-$f" route flush table all proto boot
	check_eq "routes of which none is left" "" "$(wgvia_route)"
	while read -r line; do
		# shellcheck disable=SC2086 # words
		check wgvia_route add $line
	done <<<"$before"
	check_eq "routes made again" "$before" "$(wgvia_route)"
}

# several FAMILY: nexthops, and nexthop objects, of which ip makes routes
several()
{
	family "$1"
	check ip_hub route add "$prefix" metric 5 nexthop dev hub via-wgpeer "${KEY[2]}" weight 3 \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "a route with two nexthops" "$prefix metric 5
	nexthop dev hub via-wgpeer K2 weight 3
	nexthop dev hub via-wgpeer K3 weight 1" "$(wgvia_route | names)"
	check_eq "as JSON" '[{"dev":"hub","via_wgpeer":"K2","weight":3},{"dev":"hub","via_wgpeer":"K3","weight":1}]' \
		"$(in_hub wgvia -j route show via-wgpeer "${KEY[3]}" | jq -c '.[0].nexthops' | names)"
	check ip_hub route del "$prefix"
	check ip_hub "-$f" nexthop add id 5 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" metric 5 nhid 5
	check_eq "a route with a nexthop object" "$prefix dev hub via-wgpeer K2 metric 5" \
		"$(wgvia_route | names)"
}

# refused FAMILY
refused()
{
	family "$1"
	new_key 9
	check_eq "warning" "wgvia: warning: $NO_PEER_YET" \
		"$(wgvia_route add "$prefix" dev hub via-wgpeer "${KEY[9]}" 2>&1)"
	check_bindings "K9=1"
	check_route_fails 1 "via-wgpeer needs a WireGuard device" \
		add "$prefix2" dev ul via-wgpeer "${KEY[2]}"
	check_route_fails 1 "none: no such device (list WireGuard devices with: ip link show type wireguard)" \
		add "$prefix2" dev none via-wgpeer "${KEY[2]}"
	check_fails "wgvia: permission denied: CAP_NET_ADMIN in the user namespace that owns the network namespace is needed, try as root" \
		in_hub setpriv --reuid 65534 --regid 65534 --clear-groups \
		wgvia route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check wgvia_route del "$prefix" dev hub via-wgpeer "${KEY[9]}"

	set_mode off
	check_route_fails 1 "wgvia is off on this device: wgvia set DEV mode auto turns it on" \
		add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	set_mode auto
}

usage()
{
	local key=${KEY[2]}

	check_route_fails 2 "PREFIX is missing" add
	check_route_fails 2 "dev DEV is missing" add 10.2.0.0/16
	check_route_fails 2 "via-wgpeer KEY is missing" add 10.2.0.0/16 dev hub
	check_route_fails 2 "'${key%=}' is not a key: 44 characters of base64" \
		add 10.2.0.0/16 dev hub via-wgpeer "${key%=}"
	check_route_fails 2 "'default' has no address family: say 0.0.0.0/0 or ::/0" \
		add default dev hub via-wgpeer "$key"
	check_route_fails 2 "'10.2.0.0/33' is not a prefix, such as 10.1.0.0/16 or fd01::/48" \
		add 10.2.0.0/33 dev hub via-wgpeer "$key"
	check_route_fails 2 "src is of another family than PREFIX" \
		add 10.2.0.0/16 dev hub via-wgpeer "$key" src fd00::fe
	check_route_fails 2 "table 0 is no routing table" \
		add 10.2.0.0/16 dev hub via-wgpeer "$key" table 0
	check_route_fails 2 "dev is given twice" add 10.2.0.0/16 dev hub dev hub via-wgpeer "$key"
	check_route_fails 2 "'via' is none of: dev, via-wgpeer, table, metric, src" \
		add 10.2.0.0/16 dev hub via-wgpeer "$key" via 10.0.0.2
	check_route_fails 2 "'10.2.0.0/16' is none of: dev, via-wgpeer, table" show 10.2.0.0/16
	wgvia_route de hub 2>"$TMP/says" && fail "succeeded: wgvia route de hub"
	[[ $(<"$TMP/says") == "wgvia: 'de' is no command: the form is"* ]] || fail "it says: $(<"$TMP/says")"
	check_eq "routes" "" "$(wgvia_route)"
}

for family in 4 6; do
	test_add "IPv$family: the same routes as of ip" as_ip_does $family
	test_add "IPv$family: add, replace, append, del" changes $family
	test_add "IPv$family: show" shown $family
	test_add "IPv$family: show several nexthops" several $family
	test_add "IPv$family: what the kernel refuses" refused $family
done
test_add "a wrong command line" usage

setup_hub 3
tests_run
