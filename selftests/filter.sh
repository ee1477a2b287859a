#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The source filters "strict" (the route that a reply would really take, with all
# rules and devices, leads to the peer) and "none", and how they get on with the
# kernel's own rp_filter.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

test_reset()
{
	reset_hub
	flush_rules
	set_filter strict
	rp_filter 0
}

strict_ways()
{
	family "$1"
	check_source "$addr" rx-drop-noroute none
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_source "$addr" rx-wgpeer p2
	check ip_hub route replace "$prefix" via "$gateway" dev hub
	check_source "$addr" rx-gateway p2
	check ip_hub route replace "$prefix" dev hub
	check_source "$addr" rx-onlink p1
	check_source "$peer2" rx-onlink p2
}

strict_other_device()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 100
	check ip_hub route add "$longer" dev other
	check_source "$addr" rx-wgpeer p2
	check_source "$longer_addr" rx-drop-device none
	check ip_hub route add "$prefix" dev other metric 1
	check_source "$addr" rx-drop-device none
	set_filter device
	check_source "$addr" rx-wgpeer p2
	check_source "$longer_addr" rx-wgpeer p2
	set_filter strict
	check ip_hub link del other
	check_source "$addr" rx-wgpeer p2
}

strict_not_unicast()
{
	local type

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	for type in blackhole unreachable prohibit; do
		check ip_hub route add "$type" "$longer"
		check_source "$longer_addr" rx-drop-noroute none
		check ip_hub route del "$type" "$longer"
	done
	check_source "$hub_addr" rx-drop-own none
	check_source "$longer_addr" rx-wgpeer p2
	# AnyIP: the reply would be to the hub itself.
	check ip_hub route add local "$longer" dev hub
	check_source "$longer_addr" rx-drop-noroute none
	check ip_hub route del local "$longer" dev hub table local
}

strict_multipath()
{
	local other=203.0.114.9

	family "$1"
	[[ $f == 4 ]] || other=2001:db8:9::9
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub address add 203.0.114.1/24 dev other
	check ip_hub address add 2001:db8:9::1/64 dev other
	check ip_hub route add "$prefix" nexthop via "$other" dev other weight 100 \
		nexthop dev hub via-wgpeer "${KEY[2]}"
	check_source "$addr" rx-wgpeer p2
	check ip_hub link del other
}

# In mode auto, strict is asked where a route of the device names a peer, and nowhere else.
strict_auto()
{
	family "$1"
	set_mode auto
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check_source "$addr" - p1
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 100
	check_source "$addr" rx-wgpeer p2
	check ip_hub route add "$prefix" dev other metric 1
	check_source "$addr" rx-drop-device none
	check ip_hub route add "$longer" dev hub metric 100
	check_source "$longer_addr" - p1
	check ip_hub link del other
}

# The rules for the packet of a reply are obeyed.
strict_rules()
{
	local selector hub_addr2=10.0.0.253 hub_prefix2=10.0.0.253/32

	family "$1"
	[[ $f == 4 ]] || hub_addr2=fd00::fd hub_prefix2=fd00::fd/128
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check_source "$addr" rx-wgpeer p2

	# A reply comes from the address that the packet was sent to.
	check rule add from "$hub_addr" table 100 pref 100
	check_source "$addr" rx-wgpeer p3
	check ip_hub address add "$hub_prefix2" dev hub
	check_source "$addr" rx-wgpeer p2 "$hub_addr2"
	check ip_hub address del "$hub_prefix2" dev hub
	check rule del from "$hub_addr" table 100 pref 100

	check rule add to "$prefix" table 100 pref 100
	check_source "$addr" rx-wgpeer p3
	check rule del to "$prefix" table 100 pref 100

	# It is sent by the host itself, and has no mark.
	check rule add iif lo table 100 pref 100
	check_source "$addr" rx-wgpeer p3
	check rule del iif lo table 100 pref 100
	check rule add iif hub table 100 pref 100
	check_source "$addr" rx-wgpeer p2
	check rule del iif hub table 100 pref 100
	check rule add fwmark 1 table 100 pref 100
	check_source "$addr" rx-wgpeer p2
	check rule del fwmark 1 table 100 pref 100
	check rule add not fwmark 1 table 100 pref 100
	check_source "$addr" rx-wgpeer p3
	check rule del not fwmark 1 table 100 pref 100

	# Nobody knows who will reply: to rules it is the owner of the namespace, as for
	# all that the kernel sends without a socket.
	check rule add uidrange 0-0 table 100 pref 100
	check_source "$addr" rx-wgpeer p3
	check rule del uidrange 0-0 table 100 pref 100
	check rule add uidrange 1-4294967294 table 100 pref 100
	check_source "$addr" rx-wgpeer p2
	check rule del uidrange 1-4294967294 table 100 pref 100

	# It has the ports the other way round; both are the same here.
	for selector in "ipproto udp" "sport 4747" "dport 4747" "iif lo ipproto udp sport 4747"; do
		# shellcheck disable=SC2086 # words
		check rule add $selector table 100 pref 100
		check_source "$addr" rx-wgpeer p3
		# shellcheck disable=SC2086
		check rule del $selector table 100 pref 100
		check_source "$addr" rx-wgpeer p2
	done
	for selector in "ipproto tcp" "iif lo dport 4748" "iif lo ipproto tcp"; do
		# shellcheck disable=SC2086
		check rule add $selector table 100 pref 100
		check_source "$addr" rx-wgpeer p2
		# shellcheck disable=SC2086
		check rule del $selector table 100 pref 100
	done

	# It has the DSCP that the packet has; the other two bits are not part of it.
	check rule add dscp 4 table 100 pref 100
	check_source "$addr" rx-wgpeer p2
	check_source "$addr" rx-wgpeer p3 "$hub_addr" tos=0x10
	check_source "$addr" rx-wgpeer p3 "$hub_addr" tos=0x13
	check_source "$addr" rx-wgpeer p2 "$hub_addr" tos=0x20
	check rule del dscp 4 table 100 pref 100

	check rule add to "$prefix" blackhole pref 100
	check_source "$addr" rx-drop-noroute none
	check rule del to "$prefix" blackhole pref 100
	check_source "$addr" rx-wgpeer p2
}

# A throw route leads on to the next table.
strict_throw()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" route add throw "$longer" table 100
	check rule add table 100 pref 100
	check_source "$addr" rx-wgpeer p3
	check_source "$longer_addr" rx-wgpeer p2
}

# A reply has no flow label yet, so that the sender's chooses no rule for it.
strict_flowlabel()
{
	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub -6 route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check rule add flowlabel 0x12345 table 100 pref 100
	check_source "$addr" rx-wgpeer p2 "$hub_addr" label=0x12345
	check_source "$addr" rx-wgpeer p2
	check rule add dscp 4 table 100 pref 101
	check_source "$addr" rx-wgpeer p3 "$hub_addr" label=0x12345 tos=0x10
}

# Where there has never been a rule, a throw route in the table local leads on to main.
throw_without_rules()
{
	local filter

	family 6
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub -6 route add throw "$longer" table local
	check_send p2 hub "$longer_addr"
	check_forge p2 hub hub "$hub_addr" "$longer_addr"
	for filter in strict device; do
		set_filter "$filter"
		check_source "$longer_addr" rx-wgpeer p2
	done
	check ip_hub -6 route del throw "$longer" table local
}

# The rules of wg-quick for AllowedIPs = 0.0.0.0/0, ::/0
wg_quick()
{
	local filter

	family "$1"
	check in_hub wg set hub fwmark 51820
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}" table 51820
	check rule add not fwmark 51820 table 51820
	check rule add table main suppress_prefixlength 0
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub "-$f" route add default dev ul
	check_send p2 hub "$nobodys"
	check_send p3 hub "$addr"
	for filter in strict device; do
		set_filter "$filter"
		check_source "$nobodys" rx-wgpeer p2
		check_source "$addr" rx-wgpeer p3
	done
	check in_hub wg set hub fwmark 0
}

# The endpoint is behind the default route of the table main, which the rules leave to what
# WireGuard itself sends.
wg_quick_endpoint()
{
	local ip far=198.18.0.1

	check ip -n "$ul" address add "$far/32" dev lo
	check in_hub wg set hub fwmark 51820 peer "${KEY[2]}" endpoint "$far:51822"
	check ip_hub route add default via 192.0.2.2 dev ul
	for f in 4 6; do
		check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}" table 51820
		check rule add not fwmark 51820 table 51820
		check rule add table main suppress_prefixlength 0
	done
	for ip in 4 6; do
		family "$ip"
		check_send p2 hub "$addr"
		check_source "$addr" rx-wgpeer p2
		check_ping -I "$hub_addr" "$peer2"
	done
	check_eq "endpoint of peer 2" "$far:51822" \
		"$(in_hub wg show hub endpoints | awk -v k="${KEY[2]}" '$1 == k { print $2 }')"
	check in_hub wg set hub fwmark 0
	add_peer 2
	check ip -n "$ul" address del "$far/32" dev lo
}

# A route that rejects is not suppressed: there is no reply, whatever comes after. "device" asks
# all tables, and one of two equal prefixes leads to the peer.
suppressed_reject()
{
	local type

	family "$1"
	check ip_hub "-$f" route add default dev hub via-wgpeer "${KEY[2]}" table 100
	check rule add table main suppress_prefixlength 0 pref 100
	check rule add table 100 pref 101
	for type in blackhole unreachable prohibit; do
		check_source "$nobodys" rx-wgpeer p2
		check ip_hub "-$f" route add "$type" default
		check_source "$nobodys" rx-drop-noroute none
		set_filter device
		check_source "$nobodys" rx-wgpeer p2
		set_filter strict
		check ip_hub "-$f" route del "$type" default
	done
}

# A rule that takes nothing through devices of a group leads on to the next. Outside of the
# group either table may be the one, so "device" takes both peers.
suppressed_group()
{
	local group peers

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check rule add table 100 suppress_ifgroup 7 pref 100
	for group in 0 7 0; do
		peers=p3
		[[ $group == 0 ]] || peers=p2
		check ip_hub link set hub group "$group"
		check_send "$peers" hub "$addr"
		check_source "$addr" rx-wgpeer "$peers"
		set_filter device
		[[ $group == 7 ]] || peers=p2,p3
		check_source "$addr" rx-wgpeer "$peers"
		set_filter strict
	done
}

# rp_filter VALUE: the kernel's own filter, which is behind ours
rp_filter() { check in_hub sysctl -qw net.ipv4.conf.hub.rp_filter="$1"; }

# check_rp SOURCE COUNTER DELIVERED...: wgvia accepts the source from peer 2, by this
# way, whatever rp_filter is; what the stack does then with rp_filter 0, 1 and 2
check_rp()
{
	local source=$1 counter=$2 value=0 expected
	shift 2

	for expected in "$@"; do
		rp_filter "$value"
		count_from_now
		check_deliver "$expected" p2 wg0 "$source" "$hub_addr"
		check_counters "$counter=1"
		value=$((value + 1))
	done
	rp_filter 0
}

# rp_device: neither filter undoes the other
rp_device()
{
	family 4
	set_filter device
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_rp "$addr" rx-wgpeer delivered delivered delivered
	# The reply would leave elsewhere, and the longest prefix on the device leads to
	# the peer: 1 wants the best route, and 2 any.
	check ip_hub route add "$longer" dev other
	check_rp "$longer_addr" rx-wgpeer delivered rp_filter delivered
	check_rp "$addr" rx-wgpeer delivered delivered delivered
	# A packet that ours refuses does not get as far.
	rp_filter 1
	check_deliver dropped p3 wg0 "$longer_addr" "$hub_addr"
	rp_filter 0
	check ip_hub link del other
}

rp_none()
{
	family 4
	set_filter none
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$longer" dev other
	check_rp "$addr" rx-unfiltered delivered delivered delivered
	check_rp "$longer_addr" rx-unfiltered delivered rp_filter delivered
	check_rp "$nobodys" rx-unfiltered delivered rp_filter rp_filter
	check ip_hub link del other
}

# On a device with one peer strict is what rp_filter 1 is: what the one refuses, the
# other does too, and what it accepts is delivered.
rp_strict()
{
	local source

	family 4
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$longer" dev other
	set_filter none
	rp_filter 1
	check_deliver delivered p2 wg0 "$addr" "$hub_addr"
	for source in "$longer_addr" "$nobodys"; do
		check_deliver rp_filter p2 wg0 "$source" "$hub_addr"
	done
	set_filter strict
	check_rp "$addr" rx-wgpeer delivered delivered delivered
	count_from_now
	for source in "$longer_addr" "$nobodys"; do
		check_deliver dropped p2 wg0 "$source" "$hub_addr"
	done
	check_counters rx-drop-device=1 rx-drop-noroute=1
	check ip_hub link del other
}

# An IPv6 route for one source of ours: the reply has the packet's destination.
# (A plain route to the very same prefix is hidden by it, which is the kernel's way.)
source_specific()
{
	family 6
	set_filter "$1"
	check ip_hub address add fd00::fd/128 dev hub
	check ip_hub route add fd02::/32 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub -6 route add "$prefix" from fd00::fd dev hub via-wgpeer "${KEY[3]}"
	check_send p2 hub "$addr" src=fd00::fe
	check_send p3 hub "$addr" src=fd00::fd
	check_source "$addr" rx-wgpeer p2 fd00::fe
	check_source "$addr" rx-wgpeer p3 fd00::fd
	check ip_hub -6 route replace "$prefix" from fd00::fd via fd00::1 dev hub
	check_send p1 hub "$addr" src=fd00::fd
	check_source "$addr" rx-wgpeer p2 fd00::fe
	check_source "$addr" rx-gateway p1 fd00::fd
	check ip_hub address del fd00::fd/128 dev hub
}

# none: whatever it is, and from whom; in mode auto where a route names a peer
none()
{
	local source sources=(198.51.100.1 127.0.0.1 224.0.0.1 0.0.0.0)

	family "$1"
	[[ $f == 4 ]] || sources=(2001:db8::1 ::1 ff02::1 ::)
	sources+=("$addr" "$hub_addr")
	set_filter none
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	for source in "${sources[@]}"; do
		check_forge hub p3 wg0 "$source" "$hub_addr"
	done
	check_counters rx-unfiltered=6
	set_mode auto
	check_source "$addr" rx-unfiltered p1,p2,p3
	check_source "$addr2" - p1
	check_source "$nobodys" - none
	check ip_hub route del "$prefix"
	check_source "$addr" - p1
	set_mode off
	check_source "$addr" - p1
}

# The first, since the kernel does not forget that a namespace has had rules.
test_add "IPv6: strict and device: a throw route without rules" throw_without_rules
for f in 4 6; do
	test_add "IPv$f: strict: all the ways to a peer" strict_ways $f
	test_add "IPv$f: strict: the reply would leave elsewhere" strict_other_device $f
	test_add "IPv$f: strict: routes that are not unicast" strict_not_unicast $f
	test_add "IPv$f: strict: one nexthop of several" strict_multipath $f
	test_add "IPv$f: strict: mode auto" strict_auto $f
	test_add "IPv$f: strict: rules" strict_rules $f
	test_add "IPv$f: strict: throw routes" strict_throw $f
	test_add "IPv$f: strict and device: the rules of wg-quick" wg_quick $f
	test_add "IPv$f: strict and device: suppressing rules and rejecting routes" suppressed_reject $f
	test_add "IPv$f: strict and device: rules that suppress a group of devices" suppressed_group $f
	test_add "IPv$f: none" none $f
done
test_add "IPv6: strict: rules for flow labels" strict_flowlabel
test_add "IPv4: device: rp_filter behind it" rp_device
test_add "IPv4: none: rp_filter behind it" rp_none
test_add "IPv4: strict: as rp_filter 1" rp_strict
test_add "rules of wg-quick: the endpoint behind the default route" wg_quick_endpoint
test_add "IPv6: strict: source-specific routes" source_specific strict
test_add "IPv6: device: source-specific routes" source_specific device

setup_hub 3
set_mode $MODE
set_filter strict
tests_run
