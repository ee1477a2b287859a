#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module is loaded and unloaded on a machine with running devices of every kind: a
# hub, clients with 0.0.0.0/0, senders of multicast, packet and raw sockets. Where no
# route names a peer, every verdict is as without it.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/traffic.sh
source "$(dirname "$0")/lib/traffic.sh"

MODE=

unload()
{
	[[ -d /sys/module/wgvia ]] || return
	busywait module_idle || fail "the module is referred to"
	check rmmod wgvia
}

load() { check modprobe wgvia; }

# setup_routes: of every kind, and none names a peer
setup_routes()
{
	ip_hub -batch - <<-END
		route add $all dev hub
		route add $prefix via $gateway dev hub
		route add prohibit $longer
		route add unreachable $prefix3
		route add $prefix2 dev ul
		route add $foreign dev hub
	END
	ip_hub "-$f" -batch - <<-END
		route add default via $peer3 dev hub
		route add default dev hub table 100
		rule add fwmark 7 table 100 pref 100 proto boot
		rule add dscp 4 table 100 pref 101 proto boot
	END
}

# verdicts: what becomes of packets of every kind, a line each
verdicts()
{
	local dst i source words

	for dst in "$peer1" "$peer2" "$addr" "$all_addr" "$longer_addr" "$addr3" "$nobodys" "$far"; do
		for words in "" mark=7 tos=16 uid=4747; do
			# shellcheck disable=SC2086 # perhaps a word
			send hub "$dst" $words
			echo "hub sends to $dst $words: $REPLY"
		done
		send lan "$dst"
		echo "lan sends to $dst: $REPLY"
		forge hub hub "$hub_addr" "$dst"
		echo "packet socket of the hub to $dst: $REPLY"
	done
	packets raw hub "$gateway" "$hub_addr" "$addr"
	echo "raw socket of the hub by the gateway: $REPLY"
	packets raw hub "$gateway" "$hub_addr" "$far"
	echo "raw socket of the hub by the gateway, far away: $REPLY"
	for dst in "${groups[@]}"; do
		send hub "$dst" connect=no dev=hub
		echo "hub sends to the group $dst: $REPLY"
		send p2 "$dst" connect=no dev=wg0
		echo "client sends to the group $dst: $REPLY"
		forge hub hub "$hub_addr" "$dst"
		echo "packet socket of the hub to the group $dst: $REPLY"
	done
	# AllowedIPs of the hub, and those of clients, which have all in one peer
	for source in "$peer1" "$peer2" "$addr" "$longer_addr" "$addr2" "$nobodys" "$far" "$hub_addr" \
		"$loopback" "${groups[@]}"; do
		for i in 1 2 3; do
			forge "p$i" wg0 "$source" "$hub_addr"
			echo "p$i sends from $source: $REPLY"
		done
		forge hub hub "$source" "$peer2"
		echo "hub sends to a client from $source: $REPLY"
	done
	for dst in "$hub_addr" "$nobodys" "$far"; do
		send p2 "$dst"
		echo "client sends to $dst: $REPLY"
	done
}

# as_without FAMILY
as_without()
{
	local groups=(224.0.0.5 239.1.2.3) far=192.88.99.1 i

	family "$1"
	[[ $f == 4 ]] || groups=(ff02::5 ff0e::123) far=2001:db8:9::1
	check in_hub wg set hub peer "${KEY[1]}" allowed-ips "+224.0.0.0/4,+ff00::/8,+$loopback"
	setup_routes
	unload
	verdicts >"$TMP/without"
	[[ $(grep -cE ': (hub|p[123])$' "$TMP/without") -gt 20 ]] ||
		fail "hardly anything arrives: $(cat "$TMP/without")"
	for i in 1 2; do
		load
		verdicts >"$TMP/with"
		check_eq "verdicts with the module" "" "$(diff "$TMP/without" "$TMP/with")"
		check_eq "what is counted" 0 "$(in_hub wgvia show -j | jq '[.[].counters[]] | add')"
		unload
		verdicts >"$TMP/with"
		check_eq "verdicts after it" "" "$(diff "$TMP/without" "$TMP/with")"
	done
	load
	flush_rules
	add_peer 1
}

# Not a packet is lost, both ways, and no connection.
under_traffic()
{
	local i

	family "$1"
	stream_start "$hub_addr" "$peer2" p2
	for i in {1..10}; do
		unload
		stream_more
		load
		stream_more
	done
	stream_end
	transfer_start 2 "$peer2"
	for i in {1..5}; do
		unload
		transfer_more 256 || break
		load
		transfer_more 256 || break
	done
	transfer_end
	check_eq "what is counted" 0 "$(in_hub wgvia show -j | jq '[.[].counters[]] | add')"
}

# A keyed route changes nothing for all this, which is why one command is enough.
beside_a_key()
{
	local groups=(224.0.0.5 239.1.2.3) far=192.88.99.1

	family "$1"
	[[ $f == 4 ]] || groups=(ff02::5 ff0e::123) far=2001:db8:9::1
	check in_hub wg set hub peer "${KEY[1]}" allowed-ips "+224.0.0.0/4,+ff00::/8,+$loopback"
	setup_routes
	verdicts >"$TMP/without"
	check ip_hub route add "$site" dev hub via-wgpeer "${KEY[3]}"
	verdicts >"$TMP/with"
	check_eq "verdicts beside a keyed route" "" "$(diff "$TMP/without" "$TMP/with")"
	check_eq "what is counted" 0 "$(in_hub wgvia show -j | jq '[.[].counters[]] | add')"
	check_send p3 hub "$site_addr"
	flush_rules
	add_peer 1
}

for f in 4 6; do
	test_add "IPv$f: every verdict is as without the module" as_without $f
	test_add "IPv$f: loading and unloading under traffic" under_traffic $f
	test_add "IPv$f: every verdict is as without a keyed route" beside_a_key $f
done

setup_hub 3 lan
in_hub sysctl -qw net.ipv6.conf.hub.force_forwarding=1
tests_run
