#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The modes of a device: off (AllowedIPs alone, and no route names a peer), auto
# (what a route names, and nothing else) and on (gateways too, and every source), and
# switching between them under traffic.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/traffic.sh
source "$(dirname "$0")/lib/traffic.sh"

MODE=auto

SET_OFF_FAILS="wgvia: hub: $STILL_KEYED"

test_reset()
{
	reset_hub
	flush_rules
}

defaults()
{
	check ip_hub link add fresh type wireguard
	check_eq "a new device" \
		'{"mode":"auto","filter":"device","multicast":false,"states":0,"bindings":[],"counted":0}' \
		"$(in_hub wgvia show -j fresh | jq -c '.[0] |
			{mode, filter, multicast, states, bindings, counted: ([.counters[]] | add)}')"
	check ip_hub link del fresh
}

# as_without: what WireGuard alone does with routes of every kind, and wgvia does not count:
# AllowedIPs give all of it to peer 1, and nobodys to nobody.
as_without()
{
	count_from_now
	check_send p1 hub "$addr3"
	check_send p1 lan "$addr3"
	check_send p1 hub "$all_addr"
	check_send p2 hub "$peer2"
	check_send ENOKEY hub "$nobodys"
	check_send "$unreachable" lan "$nobodys"
	# Packets that no route has sent to the device, one of which has one there
	check_forge p1 hub hub "$hub_addr" "$addr3"
	check_forge p1 hub hub "$hub_addr" "$all_addr"
	check_forge ENOKEY hub hub "$hub_addr" "$nobodys"
	check_source "$addr3" - p1
	check_source "$all_addr" - p1
	check_source "$peer2" - p2
	check_source "$nobodys" - none
	# Rejected by a route, and behind another device
	check_source "$longer_addr" - p1
	check_source "$addr2" - p1
	# The hub's own; the stack drops it behind the device.
	check_source "$hub_addr" - p1
	check_source "$loopback" - none
	check_counters
}

# plain_routes: those that as_without needs, none of which names a peer
plain_routes()
{
	check ip_hub route add "$prefix3" via "$gateway" dev hub
	check ip_hub route add "$foreign" dev hub
	check ip_hub route add blackhole "$longer"
	check ip_hub route add "$prefix2" dev ul
	check ip_hub route add "$all" dev hub
}

off()
{
	family "$1"
	set_mode off
	plain_routes
	as_without
}

# Nor what another device has: with its hook in place, packets of this one are looked at
# for one.
off_beside_on()
{
	check ip_hub link add hub2 type wireguard
	check in_hub wgvia set hub2 mode on
	off "$1"
	check ip_hub link del hub2
}

# There is never a keyed route that nobody obeys.
off_refuses_routes()
{
	family "$1"
	set_mode off
	check ip_hub route add "$prefix2" dev hub
	check_fails "$MODE_OFF" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$MODE_OFF" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" table 100
	check_fails "$MODE_OFF" ip_hub route add "$prefix" via "$gateway" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$MODE_OFF" ip_hub route add "$prefix" nexthop via "$gateway" dev hub \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	check_fails "$MODE_OFF" ip_hub route replace "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$MODE_OFF" ip_hub "-$f" nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
	check_fails "$MODE_OFF" ip_hub route add "$prefix" dev hub via-wgpeer "$(wg genkey | wg pubkey)"
	check ip_hub "-$f" nexthop add id 1 dev hub
	check_fails "$MODE_OFF" ip_hub "-$f" nexthop replace id 1 dev hub via-wgpeer "${KEY[2]}"
	check_eq "nexthop object" null "$(ip_hub -j nexthop get id 1 | jq -r '.[0].via_wgpeer')"
	check_eq "routes" "$prefix2 dev hub" "$(routes "$f" | sed 's/ scope link//')"
	check_show "what names a peer" '[.states, .bindings]' '[0,[]]'
	count_from_now
	check_send p1 hub "$addr2"
	check_counters
	set_mode auto
	check ip_hub route replace "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check_send p2 hub "$addr2"
}

# off_refused ADD -- DEL: off is, from the one command to the other, and the packets
# for addr still go to peer 2 and to nobody else
off_refused()
{
	local add del

	add_and_del "$@"
	set_filter strict
	check ip_hub "${add[@]}"
	check_fails "$SET_OFF_FAILS" in_hub wgvia set hub mode off
	check_fails "$SET_OFF_FAILS" in_hub wgvia set hub mode off filter none
	check_show "what is set" '[.mode, .filter]' '["auto","strict"]'
	if [[ "${add[*]}" == *" $prefix "* && "${add[*]}" != *table* ]]; then
		count_from_now
		check_send p2 hub "$addr"
		check_source "$addr" rx-wgpeer p2
		set_mode on
		check_fails "$SET_OFF_FAILS" in_hub wgvia set hub mode off
		check_send p2 hub "$addr"
	fi
	set_filter device
	check ip_hub "${del[@]}"
	set_mode off
	check_send p1 hub "$addr"
	check_source "$addr" - p1
}

off_refused_each()
{
	family "$1"
	check ip_hub route add "$all" dev hub
	off_refused route add "$prefix" dev hub via-wgpeer "${KEY[2]}" -- route del "$prefix"
	set_mode auto
	off_refused route add "$prefix" dev hub via-wgpeer "${KEY[2]}" table 100 -- \
		"-$f" route flush table 100
	set_mode auto
	off_refused route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[2]}" via "$gateway" -- route del "$prefix"
	set_mode auto
	off_refused "-$f" nexthop add id 1 dev hub via-wgpeer "${KEY[2]}" -- nexthop del id 1
	set_mode auto
	check remove_peer 3
	check_warns "$NO_PEER_YET" ip_hub route add "$foreign" dev hub via-wgpeer "${KEY[3]}"
	check_fails "$SET_OFF_FAILS" in_hub wgvia set hub mode off
	check add_peer 3
	check_send p3 hub "$peer3"
}

# unmoved ADD -- DEL: what names a peer for addr changes nothing for other packets
unmoved()
{
	local add del

	add_and_del "$@"
	check ip_hub "${add[@]}"
	as_without
	check ip_hub "${del[@]}"
	check_states 0
}

auto_unmoved()
{
	family "$1"
	plain_routes
	as_without
	unmoved route add "$prefix" dev hub via-wgpeer "${KEY[3]}" -- route del "$prefix"
	unmoved route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100 -- \
		"-$1" route flush table 100
	unmoved route add "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}" -- route del "$prefix"
	unmoved "-$1" nexthop add id 1 dev hub via-wgpeer "${KEY[3]}" -- nexthop del id 1
	# Where there is a longer prefix that names nobody, a default route says nothing.
	check ip_hub route del "$foreign"
	check ip_hub route add blackhole "$foreign"
	check ip_hub "-$1" route add default dev hub via-wgpeer "${KEY[3]}"
	check_source "$nobodys" - none
	check_source "$addr3" - p1
	check_source "$peer2" - p2
	check_send p1 hub "$addr3"
	check ip_hub route del blackhole "$foreign"
	check_source "$nobodys" rx-wgpeer p3
}

# The filter says nothing about sources for which no route names a peer.
auto_filters()
{
	local filter

	family "$1"
	plain_routes
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	for filter in strict loose none; do
		set_filter "$filter"
		as_without
	done
	set_filter device
}

# The peer is absent, and the key is a peer's that has all of AllowedIPs.
auto_absent_peer()
{
	family "$1"
	plain_routes
	new_key 99
	check_warns "$NO_PEER_YET" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[99]}"
	as_without
	count_from_now
	check_send ENOKEY hub "$addr"
	check_counters tx-drop-wgpeer=1
	check_source "$addr" rx-drop-peer none
}

# (IPv4 has one object for all routes with the same nexthop.)
auto_last_of_several()
{
	local states=3

	family "$1"
	[[ $f == 6 ]] || states=1
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix3" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route replace "$prefix3" dev hub via-wgpeer "${KEY[2]}"
	check_bindings "K2=$states"
	check_states "$states"
	check ip_hub route del "$prefix"
	check ip_hub route del "$prefix3"
	check_send p2 hub "$addr2"
	check ip_hub route del "$prefix2"
	check_states 0
	check_bindings ""
}

auto_failed_command()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub
	check_fails "RTNETLINK answers: File exists" \
		ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_states 0
	check_fails "RTNETLINK answers: No such process" \
		ip_hub route del "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_states 0
	count_from_now
	check_send p1 hub "$addr"
	check_counters
}

# A device that goes down takes its routes along.
auto_device_down()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_states 1
	check ip_hub link set hub down
	check_eq "routes with the device down" "" "$(routes "$1")"
	check_states 0
	check ip_hub link set hub up
	# IPv6 addresses went with the device.
	ip_hub address replace fd00::fe/64 dev hub
	ip_hub address replace fe80::fe/64 dev hub
	check_show "mode" .mode auto
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

# A connected socket keeps the dst, and with it the nexthop's state.
auto_cached_dst()
{
	family "$1"
	check ip_hub route add "$all" dev hub
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	packets open s hub "$addr"
	packets again s
	check_eq "sent through the route" p2 "$REPLY"
	check ip_hub route del "$prefix"
	packets again s
	check_eq "sent with the route deleted" p1 "$REPLY"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	packets again s
	check_eq "sent with another route" p3 "$REPLY"
	packets close s
}

# on: gateways count, and all sources are judged, with no nexthop that names a peer
on()
{
	family "$1"
	set_mode on
	plain_routes
	count_from_now
	check_send p2 hub "$addr3"
	check_counters tx-gateway=1
	check_source "$addr3" rx-gateway p2
	check_source "$all_addr" rx-onlink p1
	check_source "$peer2" rx-onlink p2
	check_source "$longer_addr" rx-drop-noroute none
	check_source "$nobodys" rx-drop-peer none
	check_source "$hub_addr" rx-drop-own none
	check_source "$loopback" rx-drop-source none
	check ip_hub route del "$all"
	check_source "$all_addr" rx-allowedips p1
}

switching()
{
	local mode peer

	family "$1"
	check ip_hub route add "$prefix" via "$gateway" dev hub
	packets open s hub "$addr"
	for mode in off on off auto on auto off; do
		set_mode "$mode"
		check_show "mode" .mode "$mode"
		peer=1
		[[ $mode != on ]] || peer=2
		packets again s
		check_eq "sent by a connected socket in mode $mode" "p$peer" "$REPLY"
		check_forge hub "p$peer" wg0 "$addr" "$hub_addr"
		check_forge dropped "p$((3 - peer))" wg0 "$addr" "$hub_addr"
	done
	packets close s
}

# In every mode the packets go to the same peer: nobody may notice.
switch_under_traffic()
{
	local i mode

	transfer_start 2 10.0.0.2
	for i in {1..5}; do
		for mode in off auto on; do
			set_mode "$mode"
			transfer_more 64 || break 2
		done
	done
	transfer_end
}

# The same, to the last packet, and for both ways.
switch_loses_nothing()
{
	local i mode

	family "$1"
	check ip_hub route add "$gateway" dev hub
	stream_start "$hub_addr" "$gateway" p2
	for i in {1..5}; do
		for mode in off auto off on; do
			set_mode "$mode"
			stream_more
		done
	done
	stream_end
}

# And where a route names the peer that AllowedIPs give too
switch_keyed_loses_nothing()
{
	local i mode

	family "$1"
	check ip_hub route add "$gateway" dev hub via-wgpeer "${KEY[2]}"
	stream_start "$hub_addr" "$gateway" p2
	for i in {1..10}; do
		for mode in auto on; do
			set_mode "$mode"
			stream_more
		done
	done
	stream_end
}

# A multipath route with the only keys is replaced, and IPv6 adds its nexthops one after
# the other, the last with the key: no other packet of the device may notice.
replaced_multipath()
{
	local i route own

	family "$1"
	own=$addr3/$([[ $1 == 4 ]] && echo 32 || echo 128)
	check in_peer 2 ip address add "$own" dev lo
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips "+$own"
	check ip_hub route add "$prefix3" dev hub
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	route="route replace $prefix"
	for i in {10..39}; do
		route+=" nexthop via ${gateway%2}$i dev hub"
	done
	route+=" nexthop dev hub via-wgpeer ${KEY[3]}"
	yes "$route" | head -n 50 >"$TMP/batch"
	stream_start "$hub_addr" "$addr3" p2
	for i in {1..5}; do
		check ip_hub -batch "$TMP/batch"
		stream_more
	done
	stream_end
	check in_peer 2 ip address del "$own" dev lo
	add_peer 2
}

timed_out() { [[ $(nstat_of TcpExtTCPTimeouts) -gt $1 ]]; }

# In mode auto they go elsewhere for a while: the connection waits, and goes on.
switch_away_under_traffic()
{
	local before

	set_mode on
	check in_peer 2 ip address add 10.2.0.1/32 dev lo
	check ip_hub route add 10.2.0.0/16 via 10.0.0.2 dev hub
	transfer_start 2 10.2.0.1
	transfer_more 256
	# One segment may always be lost and sent again.
	before=$(nstat_of TcpExtTCPTimeouts)
	set_mode auto
	busywait timed_out "$before" || fail "mode auto did not stop the connection"
	set_mode on
	transfer_more 256
	transfer_end
	check in_peer 2 ip address del 10.2.0.1/32 dev lo
}

test_add "a new device is in mode auto and has counted nothing" defaults
for f in 4 6; do
	test_add "IPv$f: off: AllowedIPs alone decide" off $f
	test_add "IPv$f: off: also beside a device that is on" off_beside_on $f
	test_add "IPv$f: off: no route can name a peer" off_refuses_routes $f
	test_add "IPv$f: off: refused while a nexthop names a peer" off_refused_each $f
	test_add "IPv$f: auto: one keyed route changes nothing for other packets" auto_unmoved $f
	test_add "IPv$f: auto: nor do filters" auto_filters $f
	test_add "IPv$f: auto: also while the peer is absent" auto_absent_peer $f
	test_add "IPv$f: auto: the nexthops are counted until the last goes" auto_last_of_several $f
	test_add "IPv$f: auto: commands that fail leave nothing" auto_failed_command $f
	test_add "IPv$f: auto: the device goes down with its routes" auto_device_down $f
	test_add "IPv$f: auto: a cached dst of a route that is gone" auto_cached_dst $f
	test_add "IPv$f: on: gateways count, and every source" on $f
	test_add "IPv$f: switching takes effect at once" switching $f
done
test_add "switching under traffic loses no connection" switch_under_traffic
for f in 4 6; do
	test_add "IPv$f: switching loses no packet" switch_loses_nothing $f
	test_add "IPv$f: switching beside a keyed route loses no packet" switch_keyed_loses_nothing $f
	test_add "IPv$f: auto: while a multipath route is replaced" replaced_multipath $f
done
test_add "switching away and back loses no connection" switch_away_under_traffic

setup_hub 3 lan
set_mode $MODE
tests_run
