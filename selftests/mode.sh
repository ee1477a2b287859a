#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The modes of a device: off, auto (active exactly while a nexthop names a peer)
# and on, and switching between them under traffic.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/traffic.sh
source "$(dirname "$0")/lib/traffic.sh"

MODE=auto

family()
{
	if [[ $1 == 4 ]]; then
		all=10.0.0.0/8 prefix=10.2.0.0/16 addr=10.2.0.1 prefix2=10.3.0.0/16
		prefix3=10.4.0.0/16 addr3=10.4.0.1 gateway=10.0.0.2 hub_addr=10.0.0.254
		foreign=198.51.100.0/24 nobody=198.51.100.1 loopback=127.0.0.1
		unreachable="icmp 3/1"
	else
		all=fd00::/8 prefix=fd02::/48 addr=fd02::1 prefix2=fd03::/48
		prefix3=fd04::/48 addr3=fd04::1 gateway=fd00::2 hub_addr=fd00::fe
		foreign=2001:db8:2::/48 nobody=2001:db8:2::1 loopback=::1
		unreachable="icmp 1/3"
	fi
}

check_active() { check_show "active $1" .active true; }
check_inactive() { check_show "active $1" .active false; }

defaults()
{
	check ip_hub link add fresh type wireguard
	check_eq "a new device" \
		'{"mode":"off","filter":"device","active":false,"nexthops":0,"bindings":[],"counted":0}' \
		"$(in_hub wgvia show -j fresh | jq -c '.[0] |
			{mode, filter, active, nexthops, bindings, counted: ([.counters[]] | add)}')"
	check ip_hub link del fresh
}

# Nothing that routes say matters, and nothing counts.
off()
{
	family "$1"
	set_mode off
	check_warns "$W2" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix3" via "$gateway" dev hub
	count_from_now
	check_inactive "in mode off"
	check_send p1 hub "$addr"
	check_send p1 hub "$addr3"
	check_forge hub p1 wg0 "$addr" "$hub_addr"
	check_forge dropped p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p2 wg0 "$addr3" "$hub_addr"
	check_counters
}

# Nor what another device has: with its hook in place, packets of this one are looked at
# for one.
off_beside_on()
{
	check ip_hub link add hub2 type wireguard
	check in_hub wgvia set hub2 mode on
	off "$1"
	check_warns "$W2" ip_hub route add "$foreign" dev hub via-wgpeer "${KEY[2]}"
	check_send ENOKEY hub "$nobody"
	check_send "$unreachable" lan "$nobody"
	# WireGuard looks at AllowedIPs, and leaves the rest to the stack.
	check_forge dropped p1 wg0 "$loopback" "$hub_addr"
	check in_hub wg set hub peer "${KEY[1]}" allowed-ips +0.0.0.0/0,+::/0
	check_forge hub p1 wg0 "$loopback" "$hub_addr"
	check_counters
	add_peer 1
	check ip_hub link del hub2
}

# on_while ADD -- DEL: auto is active from the one command to the other, and all
# that shows, for a route that names no peer too.
on_while()
{
	local add=() del

	while [[ $1 != -- ]]; do
		add+=("$1")
		shift
	done
	shift
	del=("$@")

	check ip_hub route add "$prefix3" via "$gateway" dev hub
	check_inactive "before: ${add[*]}"
	check_send p1 hub "$addr3"
	count_from_now
	check ip_hub "${add[@]}"
	check_active "after: ${add[*]}"
	check_send p2 hub "$addr3"
	check_counters tx-gateway-allowedips=1
	check ip_hub "${del[@]}"
	check_inactive "after: ${del[*]}"
	check_send p1 hub "$addr3"
	check_counters tx-gateway-allowedips=1
	check_show "nexthops after: ${del[*]}" .nexthops 0
	check_show "bindings after: ${del[*]}" .bindings "[]"
}

auto_route()
{
	family "$1"
	on_while route add "$prefix" dev hub via-wgpeer "${KEY[3]}" -- route del "$prefix"
}

auto_other_table()
{
	family "$1"
	on_while route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100 -- \
		"-$1" route flush table 100
}

auto_multipath()
{
	family "$1"
	on_while route add "$prefix" nexthop dev hub via-wgpeer "${KEY[1]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}" -- route del "$prefix"
}

auto_nexthop_object()
{
	family "$1"
	on_while "-$1" nexthop add id 1 dev hub via-wgpeer "${KEY[3]}" -- nexthop del id 1
}

auto_replaced_by_plain()
{
	family "$1"
	on_while route add "$prefix" dev hub via-wgpeer "${KEY[3]}" -- \
		route replace "$prefix" dev hub
}

auto_absent_peer()
{
	family "$1"
	new_key 99
	check_warns "$W1" ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[99]}"
	check_active "with the key of no peer"
	check ip_hub route del "$prefix"
	check_inactive "without it"
}

auto_last_of_several()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix3" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route replace "$prefix3" dev hub via-wgpeer "${KEY[2]}"
	check_active "with three routes"
	check ip_hub route del "$prefix"
	check_active "with two routes"
	check ip_hub route del "$prefix3"
	check_active "with one route"
	check ip_hub route del "$prefix2"
	check_inactive "with no route"
}

auto_failed_command()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub
	check_fails "RTNETLINK answers: File exists" \
		ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_inactive "after a route that was not added"
	check_fails "RTNETLINK answers: No such process" \
		ip_hub route del "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_inactive "after a route that was not deleted"
}

# A device that goes down takes its routes along.
auto_device_down()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_active "with a route"
	check ip_hub link set hub down
	check_inactive "with the device down"
	check_eq "routes with the device down" "" "$(routes "$1")"
	check ip_hub link set hub up
	# IPv6 addresses went with the device.
	ip_hub address replace fd00::fe/64 dev hub
	ip_hub address replace fe80::fe/64 dev hub
	check_inactive "with the device up again"
	send hub 10.0.0.2
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
	check_inactive "with a dst of a deleted route"
	packets again s
	check_eq "sent with the route deleted" p1 "$REPLY"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	packets again s
	check_eq "sent with another route" p3 "$REPLY"
	packets close s
}

# on: the gateway decides without any nexthop that names a peer
on()
{
	family "$1"
	set_mode on
	check ip_hub route add "$prefix3" via "$gateway" dev hub
	count_from_now
	check_active "in mode on"
	check_send p2 hub "$addr3"
	check_forge hub p2 wg0 "$addr3" "$hub_addr"
	check_forge dropped p1 wg0 "$addr3" "$hub_addr"
	check_counters tx-gateway-allowedips=1 rx-gateway-allowedips=1 rx-drop-peer=1
}

switching()
{
	local mode

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	packets open s hub "$addr"
	for mode in off on off auto on auto off; do
		set_mode "$mode"
		check_show "mode" .mode "$mode"
		packets again s
		if [[ $mode == off ]]; then
			check_eq "sent by a connected socket in mode off" p1 "$REPLY"
			check_forge hub p1 wg0 "$addr" "$hub_addr"
			check_forge dropped p2 wg0 "$addr" "$hub_addr"
		else
			check_eq "sent by a connected socket in mode $mode" p2 "$REPLY"
			check_forge hub p2 wg0 "$addr" "$hub_addr"
			check_forge dropped p1 wg0 "$addr" "$hub_addr"
		fi
	done
	packets close s
}

# In every mode the packets go to the same peer: nobody may notice.
switch_under_traffic()
{
	local i mode

	check ip_hub route add 10.0.0.2/32 dev hub via-wgpeer "${KEY[2]}"
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
	check ip_hub route add "$gateway" dev hub via-wgpeer "${KEY[2]}"
	stream_start "$hub_addr" "$gateway" p2
	for i in {1..5}; do
		for mode in off auto off on; do
			set_mode "$mode"
			stream_more
		done
	done
	stream_end
}

# A multipath route with the only key is replaced, and it is the last of its nexthops that
# has it: IPv6 adds one after the other. It is the mode that says where the stream goes.
replaced_multipath()
{
	local i route own

	family "$1"
	own=$addr3/$([[ $1 == 4 ]] && echo 32 || echo 128)
	check in_peer 2 ip address add "$own" dev lo
	check ip_hub route add "$prefix3" via "$gateway" dev hub
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
}

timed_out() { [[ $(nstat_of TcpExtTCPTimeouts) -gt $1 ]]; }

# In mode off they go elsewhere for a while: the connection waits, and goes on.
switch_away_under_traffic()
{
	local before

	check in_peer 2 ip address add 10.2.0.1/32 dev lo
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	transfer_start 2 10.2.0.1
	transfer_more 256
	# One segment may always be lost and sent again.
	before=$(nstat_of TcpExtTCPTimeouts)
	set_mode off
	busywait timed_out "$before" || fail "mode off did not stop the connection"
	set_mode auto
	transfer_more 256
	transfer_end
	check in_peer 2 ip address del 10.2.0.1/32 dev lo
}

test_add "a new device is off and has counted nothing" defaults
for f in 4 6; do
	test_add "IPv$f: off: AllowedIPs alone decide" off $f
	test_add "IPv$f: off: also beside a device that is on" off_beside_on $f
	test_add "IPv$f: auto: while a route names a peer" auto_route $f
	test_add "IPv$f: auto: while a route of another table does" auto_other_table $f
	test_add "IPv$f: auto: while a multipath route does" auto_multipath $f
	test_add "IPv$f: auto: while a nexthop object does" auto_nexthop_object $f
	test_add "IPv$f: auto: until a plain route replaces it" auto_replaced_by_plain $f
	test_add "IPv$f: auto: also while the peer is absent" auto_absent_peer $f
	test_add "IPv$f: auto: until the last of several routes goes" auto_last_of_several $f
	test_add "IPv$f: auto: not by commands that fail" auto_failed_command $f
	test_add "IPv$f: auto: until the device goes down" auto_device_down $f
	test_add "IPv$f: auto: a cached dst does not keep it active" auto_cached_dst $f
	test_add "IPv$f: on: active without any such nexthop" on $f
	test_add "IPv$f: switching takes effect at once" switching $f
done
test_add "switching under traffic loses no connection" switch_under_traffic
for f in 4 6; do
	test_add "IPv$f: switching loses no packet" switch_loses_nothing $f
	test_add "IPv$f: auto: while a multipath route is replaced" replaced_multipath $f
done
test_add "switching away and back loses no connection" switch_away_under_traffic

setup_hub 3 lan
set_mode $MODE
tests_run
