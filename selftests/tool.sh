#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tool wgvia as its users meet it: words, exit status, JSON, permissions.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

DENIED="permission denied: CAP_NET_ADMIN in the user namespace that owns the network namespace is needed, try as root"
LIST_THEM=" (list WireGuard devices with: ip link show type wireguard)"

# In the order of the spec
COUNTERS=$(python3 -c '
import os, sys, yaml
with open(sys.argv[1], encoding="utf-8") as file:
    sets = {found["name"]: found for found in yaml.safe_load(file)["attribute-sets"]}
print(*(entry["name"].replace("-", "_") for entry in sets["counters"]["attributes"]))
' "$selftests/../netlink/specs/wgvia.yaml")

MODE=auto

# wgvia_fails STATUS TEXT ARG...: exactly so
wgvia_fails()
{
	local status=$1 text=$2 out
	shift 2

	out=$(in_hub wgvia "$@" 2>&1)
	check_eq "exit status of: wgvia $*" "$status" $?
	check_eq "what it says" "wgvia: $text" "$out"
}

# wgvia_usage ARG...: status 2, a word about what is wrong, and no change
wgvia_usage()
{
	local out before

	before=$(show '[.mode, .filter, .multicast]')
	out=$(in_hub wgvia "$@" 2>&1 >/dev/null)
	check_eq "exit status of: wgvia $*" 2 $?
	[[ $out == "wgvia: "* ]] || fail "wgvia $* says: $out"
	check_eq "mode, filter and multicast" "$before" "$(show '[.mode, .filter, .multicast]')"
}

usage()
{
	wgvia_usage frobnicate
	wgvia_usage set
	wgvia_usage set hub
	wgvia_usage set hub mode
	wgvia_usage set hub mode sometimes
	wgvia_usage set hub filter
	wgvia_usage set hub filter tight
	wgvia_usage set hub multicast
	wgvia_usage set hub multicast sometimes
	wgvia_usage set hub multicast on multicast off
	wgvia_usage set hub mode on mode off
	wgvia_usage set hub mode on filter strict mode off
	wgvia_usage set hub mode on frobnicate
	wgvia_usage set hub frobnicate on
	wgvia_usage set a-name-too-long-for-a-device mode on
	wgvia_usage show hub frobnicate
	wgvia_usage show --frobnicate
}

refused()
{
	wgvia_fails 1 "none: no such device$LIST_THEM" show none
	wgvia_fails 1 "none: no such device$LIST_THEM" show -j none
	wgvia_fails 1 "none: no such device$LIST_THEM" set none mode on
	wgvia_fails 1 "ul: not a WireGuard device$LIST_THEM" show ul
	wgvia_fails 1 "ul: not a WireGuard device$LIST_THEM" set ul filter none
}

set_them()
{
	local words now

	check_show "before" '[.mode, .filter, .multicast]' '["auto","device",false]'
	while IFS=: read -r words now; do
		# shellcheck disable=SC2086 # words
		check in_hub wgvia set hub $words
		check_show "after $words" '[.mode, .filter, .multicast]' "$now"
	done <<-END
		mode on:["on","device",false]
		filter strict:["on","strict",false]
		multicast on:["on","strict",true]
		mode auto filter none:["auto","none",true]
		filter loose multicast off:["auto","loose",false]
		filter device mode off:["off","device",false]
		mode off:["off","device",false]
		mode auto:["auto","device",false]
	END
}

# busy: what is refused is refused as a whole
busy()
{
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	wgvia_fails 1 "hub: $STILL_KEYED" set hub mode off
	wgvia_fails 1 "hub: $STILL_KEYED" set hub filter none multicast on mode off
	check_show "what is set" '[.mode, .filter, .multicast]' '["auto","device",false]'
}

json()
{
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add fd02::/48 dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route add fd03::/48 dev hub via-wgpeer "${KEY[1]}"
	check_send p2 hub 10.2.0.1
	check_eq "one device" 1 "$(in_hub wgvia show -j hub | jq length)"
	check_eq "wgvia -j show" "$(in_hub wgvia show -j hub)" "$(in_hub wgvia -j show hub)"
	check_eq "wgvia show DEV -j" "$(in_hub wgvia show -j hub)" "$(in_hub wgvia show hub -j)"
	check_show "the device without its counters and bindings" \
		'del(.counters, .bindings)' \
		"{\"ifindex\":$(ip_hub -j link show hub | jq '.[0].ifindex'),\"ifname\":\"hub\",\"mode\":\"auto\",\"filter\":\"device\",\"multicast\":false,\"states\":3}"
	check_eq "bindings" 'K1 {"states":2,"present":true}
K2 {"states":1,"present":true}' \
		"$(show '.bindings[] | "\(.key) \(del(.key) | tojson)"' | names | sort)"
	check_show "the counters' names" '.counters | keys_unsorted | join(" ")' \
		"$COUNTERS"
	check_show "the counters' values" '[.counters[] | type] | unique' '["number"]'
}

for_people()
{
	local out

	new_key 9
	set_mode on
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check_warns "$NO_PEER_YET" ip_hub route add 10.3.0.0/16 dev hub via-wgpeer "${KEY[9]}"
	out=$(in_hub wgvia show hub | names)
	[[ $out == "hub: mode on, filter device, multicast off"$'\n'* ]] || fail "first line of: $out"
	grep -qE '^ +via-wgpeer K2 +states 1$' <<<"$out" || fail "the binding of K2 in: $out"
	grep -qE '^ +via-wgpeer K9 +states 1, no such peer: ' <<<"$out" ||
		fail "the binding of K9 in: $out"
	remove_peer 2
	grep -qE '^ +via-wgpeer K2 +states 1, no such peer: ' <<<"$(in_hub wgvia show hub | names)" ||
		fail "the binding of a removed peer in: $(in_hub wgvia show hub | names)"
	add_peer 2
}

several_devices()
{
	check ip_hub link add hub2 type wireguard
	check in_hub wgvia set hub2 mode on
	check_eq "devices" "hub auto
hub2 on" "$(in_hub wgvia show -j | jq -r '.[] | "\(.ifname) \(.mode)"' | sort)"
	check_eq "of one device" hub2 "$(in_hub wgvia show -j hub2 | jq -r '.[].ifname')"
	check ip_hub link del hub2
	check_eq "devices of a namespace without" "[]" "$(in_ul wgvia show -j)"
	# Its words about a stock kernel are of no device.
	check_eq "the same for people" "" "$(in_ul wgvia show | grep -v '^stock kernel: ')"
}

in_ul() { in_ns "$ul" "$@"; }

AS_NOBODY=(setpriv --reuid 65534 --regid 65534 --clear-groups)

unprivileged()
{
	check_fails "wgvia: hub: $DENIED" \
		in_hub "${AS_NOBODY[@]}" wgvia show hub
	check_fails "wgvia: $DENIED" \
		in_hub "${AS_NOBODY[@]}" wgvia show
	check_fails "wgvia: hub: $DENIED" \
		in_hub "${AS_NOBODY[@]}" wgvia set hub mode on
	check_show "mode" .mode auto
	# Root of a user namespace of its own, in the hub's network namespace
	check_fails "wgvia: hub: $DENIED" \
		in_hub "${AS_NOBODY[@]}" unshare -Ur wgvia set hub mode on
	check_show "mode" .mode auto
}

one_capability()
{
	local as=("${AS_NOBODY[@]}" --inh-caps +net_admin --ambient-caps +net_admin)

	check in_hub "${as[@]}" wgvia set hub mode on
	check_eq "mode" on "$(in_hub "${as[@]}" wgvia show -j hub | jq -r '.[0].mode')"
}

# An unprivileged user in namespaces of its own has all of it.
user_namespace()
{
	local out

	# shellcheck disable=SC2016 # expanded inside
	out=$("${AS_NOBODY[@]}" unshare -Urn bash -ec '
		ip link add wg0 type wireguard
		wg set wg0 peer "$0"
		ip link set wg0 up
		wgvia set wg0 mode on
		ip route add 10.2.0.0/16 dev wg0 via-wgpeer "$0"
		ip -6 route add fd02::/48 dev wg0 via-wgpeer "$0"
		wgvia show -j wg0' "${KEY[2]}" 2>&1) || fail "$out"
	check_eq "what it shows" '["on",2]' "$(jq -c '.[0] | [.mode, .states]' <<<"$out" 2>&1)"
}

test_add "a wrong command line" usage
test_add "a wrong device" refused
test_add "set" set_them
test_add "mode off is refused while routes name peers" busy
test_add "show for programs" json
test_add "show for people" for_people
test_add "show of several devices and of none" several_devices
test_add "not without CAP_NET_ADMIN" unprivileged
test_add "with CAP_NET_ADMIN and nothing else" one_capability
test_add "in a user namespace of one's own" user_namespace

setup_hub 2
tests_run
