#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The packets that were dropped, by the peers that they came from: wgvia show DEV peers.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

# Each case begins with peers of which nothing was dropped.
test_reset()
{
	local i

	reset_hub
	set_filter device
	for i in 1 2 3; do
		remove_peer "$i"
		add_peer "$i"
	done
	warm_up
}

# drops: of each peer that has any, "KEY COUNTER=COUNT..."
drops()
{
	in_hub wgvia show -j hub peers | jq -r '.[] | select(.drops != {}) |
		"\(.key) \([.drops | to_entries[] | "\(.key)=\(.value)"] | join(" "))"' | names | sort
}

# check_drops [LINE]...
check_drops() { check_eq "drops of peers" "$(printf '%s\n' "$@")" "$(drops)"; }

# bytes PEER: those that WireGuard has accepted from it
bytes()
{
	# shellcheck disable=SC2016 # variables of jq
	in_hub wgvia show -j hub peers | jq --arg key "${KEY[$1]}" '.[] | select(.key == $key) | .rx_bytes'
}

by_clause()
{
	local before

	family "$1"
	check_drops ""
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add blackhole "$prefix2"
	before=$(bytes 3)
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr2" "$hub_addr"
	check_forge dropped p3 wg0 "$loopback" "$hub_addr"
	check_forge dropped p3 wg0 "$hub_addr" "$hub_addr"
	check_eq "bytes accepted of what is dropped" "$before" "$(bytes 3)"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$peer3" "$hub_addr"
	(($(bytes 3) > before)) || fail "nothing was accepted from peer 3: $(bytes 3) bytes, as before"
	check_drops "K1 rx_drop_peer=1" \
		"K3 rx_drop_source=1 rx_drop_own=1 rx_drop_noroute=1 rx_drop_peer=2"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$longer" dev other
	set_filter strict
	check_forge dropped p2 wg0 "$longer_addr" "$hub_addr"
	check_drops "K1 rx_drop_peer=1" "K2 rx_drop_device=1" \
		"K3 rx_drop_source=1 rx_drop_own=1 rx_drop_noroute=1 rx_drop_peer=2"
	check ip_hub link del other
}

# A peer that comes again, or after mode off, begins with nothing. Another one that comes in its place
# does too.
begins_anew()
{
	local i

	family 4
	for i in 1 2 3; do
		check_forge dropped "p$i" wg0 "$loopback" "$hub_addr"
	done
	check_drops "K1 rx_drop_source=1" "K2 rx_drop_source=1" "K3 rx_drop_source=1"
	remove_peer 2
	check_drops "K1 rx_drop_source=1" "K3 rx_drop_source=1"
	new_key 9
	check in_hub wg set hub peer "${KEY[9]}"
	check_drops "K1 rx_drop_source=1" "K3 rx_drop_source=1"
	add_peer 2
	check_send p2 hub "$peer2"
	check_forge dropped p2 wg0 "$loopback" "$hub_addr"
	check_drops "K1 rx_drop_source=1" "K2 rx_drop_source=1" "K3 rx_drop_source=1"
	check in_hub wg set hub peer "${KEY[9]}" remove
	set_mode off
	check_drops ""
	set_mode on
	check_forge dropped p3 wg0 "$loopback" "$hub_addr"
	check_drops "K3 rx_drop_source=1"
}

# Those that came before 1,000 others, and went and came again after these.
many_peers()
{
	local key add=() remove=()

	family 4
	while read -r key; do
		add+=(peer "$key")
		remove+=(peer "$key" remove)
	done < <(random_keys 1000)
	check_forge dropped p3 wg0 "$loopback" "$hub_addr"
	check in_hub wg set hub "${add[@]}"
	check_forge dropped p3 wg0 "$loopback" "$hub_addr"
	remove_peer 2
	add_peer 2
	check_send p2 hub "$peer2"
	check_forge dropped p2 wg0 "$loopback" "$hub_addr"
	check_drops "K2 rx_drop_source=1" "K3 rx_drop_source=2"
	check_eq "peers" 1003 "$(in_hub wgvia show -j hub peers | jq length)"
	check in_hub wg set hub "${remove[@]}"
	check_forge dropped p3 wg0 "$loopback" "$hub_addr"
	check_drops "K2 rx_drop_source=1" "K3 rx_drop_source=3"
}

words()
{
	family 4
	check_forge dropped p3 wg0 "$loopback" "$hub_addr"
	in_hub wgvia show hub peers | names | grep -A1 '^K3 ' >"$TMP/peer"
	grep -qE '^K3  rx_bytes [0-9]+, tx_bytes [0-9]+$' "$TMP/peer" || fail "$(cat "$TMP/peer")"
	check_eq "of the drop" \
		"  rx_drop_source               1  Dropped, no reply can go to the source (multicast, loopback and the like)" \
		"$(tail -n 1 "$TMP/peer")"
	check_fails "wgvia: hub: permission denied: CAP_NET_ADMIN in the user namespace that owns the network namespace is needed, try as root" \
		in_hub setpriv --reuid 65534 --regid 65534 --clear-groups wgvia show hub peers
	check_fails "wgvia: ul: not a WireGuard device (list WireGuard devices with: ip link show type wireguard)" \
		in_hub wgvia show ul peers
}

for f in 4 6; do
	test_add "each clause, IPv$f" by_clause $f
done
test_add "a peer begins with nothing" begins_anew
test_add "among many peers" many_peers
test_add "for people" words

setup_hub 3
test_reset
tests_run
