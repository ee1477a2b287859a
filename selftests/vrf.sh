#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The device in a VRF, and VRFs that have routes through a device outside them.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

# vrf_family FAMILY: and what this file needs besides
vrf_family()
{
	family "$1"
	own=198.51.100.7 red_addr=10.9.0.1
	lan2_prefix=192.168.2.0/24 lan2_addr=192.168.2.2
	[[ $f == 4 ]] || own=2001:db8:2::7 red_addr=fd09::1 \
		lan2_prefix=2001:db8:2::/64 lan2_addr=2001:db8:2::2
}

# add_to TABLE ROUTE...
add_to()
{
	local table=$1
	shift

	check ip_hub "-$f" route add "$@" table "$table"
}

# Enslaving takes the device down, its IPv6 addresses and all sessions along, and
# so does the way back.
enslave()
{
	check ip_hub link set hub master red
	add_hub_addresses
	warm_up dev=red
}

release()
{
	check ip_hub link set hub nomaster
	add_hub_addresses
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

add_hub_addresses()
{
	ip_hub -batch - <<-END
		address replace fd00::fe/64 dev hub
		address replace fe80::fe/64 dev hub
	END
}

# in_vrf FILTER FAMILY: the table of the VRF counts. A rule leads to main too: so it does
# under "device", and under "strict" where the VRF says nothing.
in_vrf()
{
	local both=p2,p3

	vrf_family "$2"
	enslave
	set_filter "$1"
	[[ $1 == device ]] || both=p2
	add_to 100 "$prefix" dev hub via-wgpeer "${KEY[2]}"
	add_to main "$prefix" dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_send p2 hub "$addr" dev=red
	check_send p2 hub "$addr" dev=hub
	check_send p3 hub "$addr"
	check_counters tx-wgpeer=3
	check_source "$addr" rx-wgpeer "$both"
	check ip_hub "-$f" route del "$prefix" table 100
	check_source "$addr" rx-wgpeer p3
	add_to 100 unreachable default
	case $1 in
	device) check_source "$addr" rx-wgpeer p3 ;;
	strict) check_source "$addr" rx-drop-noroute none ;;
	esac
	add_to 100 unreachable "$prefix"
	check ip_hub "-$f" route del "$prefix" table main
	check_source "$addr" rx-drop-noroute none
	# The hub's own are those of the VRF: red has the first, lo the second.
	check_source "$red_addr" rx-drop-own none
	check ip_hub address add "$own/$bits" dev lo
	check in_hub wg set hub peer "${KEY[3]}" allowed-ips "+$own"
	count_from_now
	check_forge hub p3 wg0 "$own" "$hub_addr"
	check_counters rx-neighbour=1
	check_forge dropped p2 wg0 "$own" "$hub_addr"
	check ip_hub address del "$own/$bits" dev lo
	add_peer 3
	set_filter device
	release
}

# Packets that leave through the queue of the VRF's device are routed once more.
queue_of_vrf()
{
	vrf_family "$1"
	enslave
	add_to 100 "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check in_hub tc qdisc add dev red root pfifo
	count_from_now
	check_send p2 hub "$addr" dev=red
	check_counters tx-wgpeer=1
	check in_hub tc qdisc del dev red root
	release
}

# Neighbours are of the device, whatever table has routes to them.
gateway_in_vrf()
{
	vrf_family "$1"
	enslave
	add_to 100 "$prefix" via "$gateway" dev hub
	add_to main "$host2" dev hub via-wgpeer "${KEY[1]}"
	add_to 100 "$host2" dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_send p2 hub "$addr" dev=red
	check_counters tx-gateway=1
	check_source "$addr" rx-gateway p2
	release
}

# Rules may name the VRF: one with oif is for what leaves through the device, as a packet without
# a route does, and one with iif for the reply to what came in.
rules_of_vrf()
{
	vrf_family "$1"
	enslave
	set_filter strict
	add_to 100 "$prefix" via "$gateway" dev hub
	add_to 300 "$prefix" dev hub via-wgpeer "${KEY[1]}"
	check rule add oif red table 300 pref 500
	count_from_now
	check_send p1 hub "$addr" dev=red
	check_forge p1 hub hub "$hub_addr" "$addr"
	check_counters tx-wgpeer=2
	check_source "$addr" rx-gateway p2
	check rule del oif red table 300 pref 500
	check rule add iif red table 300 pref 500
	check_send p2 hub "$addr" dev=red
	check_source "$addr" rx-wgpeer p1
	# Either peer may be sent to under some rule.
	set_filter device
	count_from_now
	check_forge hub p1 wg0 "$addr" "$hub_addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=1 rx-gateway=1 rx-drop-peer=1
	check rule del iif red table 300 pref 500
	release
}

# A packet socket has no VRF, the device has.
packet_socket_in_vrf()
{
	vrf_family "$1"
	enslave
	add_to 100 "$prefix" dev hub via-wgpeer "${KEY[2]}"
	add_to main "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_forge p2 hub hub "$hub_addr" "$addr"
	release
}

# Two VRFs with the same prefix at different peers, one device outside of both: each
# sends to its own. No rule leads to their tables from outside; both peers may answer if
# the device's own table has them.
leaked()
{
	vrf_family "$1"
	add_to 100 "$prefix" dev hub via-wgpeer "${KEY[2]}"
	add_to 200 "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check_send p2 hub "$addr" dev=red
	check_send p3 hub "$addr" dev=blue
	check_source "$addr" rx-allowedips p1
	set_filter strict
	check_source "$addr" rx-drop-noroute none
	set_filter device
	check ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge hub p3 wg0 "$addr" "$hub_addr"
	check_forge dropped p1 wg0 "$addr" "$hub_addr"
	check_counters rx-wgpeer=2 rx-drop-peer=1
}

# Packets of lan in the VRF that it is in leave through the device outside.
leaked_forwarded()
{
	vrf_family "$1"
	check ip_hub link set lan master red
	check ip_hub address replace 2001:db8:1::1/64 dev lan
	add_to 100 "$prefix" dev hub via-wgpeer "${KEY[2]}"
	add_to main "$prefix" dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_send p2 lan "$addr"
	check_counters tx-wgpeer=1
	check ip_hub link set lan nomaster
	check ip_hub address replace 2001:db8:1::1/64 dev lan
	check_send p3 lan "$addr"
}

# enslave_lan DEV VRF, "" to release it: with the IPv6 address that it loses
enslave_lan()
{
	if [[ $2 ]]; then
		check ip_hub link set "$1" master "$2"
	else
		check ip_hub link set "$1" nomaster
	fi
	check ip_hub address replace "2001:db8:$([[ $1 == lan ]] && echo 1 || echo 2)::1/64" dev "$1"
}

# way_back FILTER FAMILY: two sites that have the same addresses, each behind its peer, and
# its VRF with a LAN; two rules for each VRF lead replies, and what comes from the site, there.
# "device" knows the device and not who is asked: sites that overlap want "strict".
way_back()
{
	local peer

	vrf_family "$2"
	set_filter "$1"
	enslave_lan lan red
	enslave_lan lan2 blue
	for peer in 2 3; do
		# To bind to, which a route does not allow
		[[ $f == 4 ]] || check in_peer "$peer" ip address add "$site_addr/128" dev lo
	done
	add_to 100 "$site" dev hub via-wgpeer "${KEY[2]}"
	add_to 200 "$site" dev hub via-wgpeer "${KEY[3]}"
	check rule add from "$lan_prefix" iif lo table 100 pref 900
	check rule add to "$lan_prefix" iif hub table 100 pref 900
	check rule add from "$lan2_prefix" iif lo table 200 pref 900
	check rule add to "$lan2_prefix" iif hub table 200 pref 900

	count_from_now
	check_ping_from lan "$lan_addr" "$site_addr" p2
	check_ping_from lan2 "$lan2_addr" "$site_addr" p3
	check_ping_from p2 "$site_addr" "$lan_addr" lan
	check_ping_from p3 "$site_addr" "$lan2_addr" lan2
	check_counters rx-wgpeer=4 tx-wgpeer=4

	count_from_now
	check_forge dropped p1 wg0 "$site_addr" "$lan_addr"
	check_counters rx-drop-peer=1
	if [[ $1 == strict ]]; then
		# No site gets into the VRF of the other.
		count_from_now
		check_forge dropped p3 wg0 "$site_addr" "$lan_addr"
		check_forge dropped p2 wg0 "$site_addr" "$lan2_addr"
		check_counters rx-drop-peer=2

		# The rule for replies is the one that the filter needs.
		check rule del from "$lan_prefix" iif lo table 100 pref 900
		count_from_now
		check_forge dropped p2 wg0 "$site_addr" "$lan_addr"
		check_counters rx-drop-noroute=1
	fi

	[[ $f == 4 ]] || for peer in 2 3; do
		check in_peer "$peer" ip address del "$site_addr/128" dev lo
	done
	flush_rules
	enslave_lan lan ""
	enslave_lan lan2 ""
	set_filter device
}

for f in 4 6; do
	test_add "IPv$f: device in a VRF, filter device" in_vrf device $f
	test_add "IPv$f: device in a VRF, filter strict" in_vrf strict $f
	test_add "IPv$f: device in a VRF that has a queue" queue_of_vrf $f
	test_add "IPv$f: device in a VRF, gateway" gateway_in_vrf $f
	test_add "IPv$f: device in a VRF, rules that name it" rules_of_vrf $f
	test_add "IPv$f: device in a VRF, packet socket" packet_socket_in_vrf $f
	test_add "IPv$f: VRFs leak routes to a device outside" leaked $f
	test_add "IPv$f: VRFs leak routes, forwarding" leaked_forwarded $f
	test_add "IPv$f: VRFs leak routes, both ways, filter device" way_back device $f
	test_add "IPv$f: VRFs leak routes, both ways, filter strict" way_back strict $f
done

setup_hub 3 lan lan2
link_lan lan2 192.168.2 2001:db8:2
ip_hub -batch - <<-END
	link add red type vrf table 100
	link set red up
	address add 10.9.0.1/32 dev red
	address add fd09::1/128 dev red
	link add blue type vrf table 200
	link set blue up
	address add 10.9.0.2/32 dev blue
	address add fd09::2/128 dev blue
END
# A packet that is received in a VRF reaches the socket that answers nothing, too.
in_hub sysctl -qw net.ipv4.udp_l3mdev_accept=1
in_hub sysctl -qw net.ipv6.conf.hub.force_forwarding=1
set_mode $MODE
tests_run
