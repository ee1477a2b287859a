#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The source filter "device": a source is accepted from the peer to which the
# longest prefix that has a nexthop on the device leads, whatever AllowedIPs and
# the routes through other devices say.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

family()
{
	if [[ $1 == 4 ]]; then
		hub_addr=10.0.0.254 nobodys=198.51.100.1
		short=10.0.0.0/9 wider=10.2.0.0/15 prefix=10.2.0.0/16 longer=10.2.3.0/24 host=10.2.3.4/32
		in_short=10.1.2.3 in_prefix=10.2.1.1 in_longer=10.2.3.3 in_host=10.2.3.4
		peer2=10.0.0.2
	else
		hub_addr=fd00::fe nobodys=2001:db8::1
		short=fd02::/16 wider=fd02::/47 prefix=fd02::/48 longer=fd02:0:0:3::/64 host=fd02:0:0:3::4/128
		in_short=fd02:1::1 in_prefix=fd02::1 in_longer=fd02:0:0:3::3 in_host=fd02:0:0:3::4
		peer2=fd00::2
	fi
}

default_route()
{
	family "$1"
	check_source "$nobodys" rx-drop-noroute none
	check ip_hub "-$1" route add default dev hub via-wgpeer "${KEY[2]}"
	check_source "$nobodys" rx-wgpeer p2
	check_source "$in_short" rx-wgpeer p2
	check_source "$peer2" rx-onlink p2
	check ip_hub "-$1" route del default
	check_source "$nobodys" rx-drop-noroute none
}

overlapping()
{
	family "$1"
	check ip_hub route add "$short" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$longer" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$host" dev hub
	check_source "$in_short" rx-wgpeer p2
	check_source "$in_prefix" rx-wgpeer p3
	check_source "$in_longer" rx-wgpeer p2
	check_source "$in_host" rx-onlink p1
	check ip_hub route del "$longer"
	check_source "$in_longer" rx-wgpeer p3
	check ip_hub route del "$prefix"
	check_source "$in_longer" rx-wgpeer p2
}

# AllowedIPs of peer 1 are no permit without a route.
no_route()
{
	family "$1"
	check_source "$in_prefix" rx-drop-noroute none
	set_mode off
	check_forge hub p1 wg0 "$in_prefix" "$hub_addr"
	set_mode on
	check_source "$in_prefix" rx-drop-noroute none
}

# A route that leads to no peer accepts from none.
absent_peer()
{
	family "$1"
	check_warns "$W1" ip_hub route add "$prefix" dev hub via-wgpeer "$(wg genkey | wg pubkey)"
	check_source "$in_prefix" rx-drop-peer none
}

not_unicast()
{
	local type

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	for type in blackhole unreachable prohibit; do
		check ip_hub route add "$type" "$longer"
		check_source "$in_longer" rx-drop-noroute none
		check_source "$in_prefix" rx-wgpeer p2
		check ip_hub route del "$type" "$longer"
	done
	check ip_hub route add local "$longer" dev hub
	check_source "$in_longer" rx-drop-noroute none
	check ip_hub route del local "$longer" dev hub table local
	check_source "$in_longer" rx-wgpeer p2
	# The hub's own address, which no peer has
	check_source "$hub_addr" rx-drop-noroute none
	[[ $1 == 6 ]] || check_source 10.0.0.255 rx-drop-noroute none
}

martian()
{
	local source

	family "$1"
	check ip_hub "-$1" route add default dev hub via-wgpeer "${KEY[2]}"
	if [[ $1 == 4 ]]; then
		set -- 224.0.0.1 239.255.255.250 255.255.255.255 0.0.0.0 127.0.0.1 127.8.8.8
	else
		set -- ff02::1 ff0e::1234 :: ::1
	fi
	for source in "$@"; do
		check_source "$source" rx-drop-source none
	done
}

# What the hub itself would do to reply is not asked: that is filter strict.
other_devices()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 100
	check ip_hub route add "$longer" dev other
	check_source "$in_longer" rx-wgpeer p2
	check ip_hub route add "$prefix" dev other metric 1
	check_source "$in_prefix" rx-wgpeer p2
	check ip_hub "-$1" route add default dev other metric 1
	check_source "$nobodys" rx-drop-noroute none
	check ip_hub link del other
}

# Nor do they when nexthop objects lead there, as routing daemons have it: not for another
# metric, nor for a shorter prefix that begins with the same address.
objects_of_other_devices()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub "-$1" nexthop add id 9 dev other
	check ip_hub route add "$prefix" nhid 9 metric 1
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 100
	check ip_hub route add "$short" dev hub via-wgpeer "${KEY[3]}"
	check_source "$in_prefix" rx-wgpeer p2
	check ip_hub route del "$prefix" metric 100
	check_source "$in_prefix" rx-wgpeer p3
	check ip_hub route add "$wider" dev hub via-wgpeer "${KEY[2]}"
	check_source "$in_prefix" rx-wgpeer p2
	check ip_hub "-$1" route add default nhid 9 metric 1
	check ip_hub "-$1" route add default dev hub via-wgpeer "${KEY[2]}" metric 100
	check_source "$nobodys" rx-wgpeer p2
	check ip_hub link del other
}

# Of one prefix the lowest metric decides that is on the device or rejects, also when a
# lower one is elsewhere.
metrics()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev other metric 10
	check ip_hub route add unreachable "$prefix" metric 20
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 30
	check_source "$in_prefix" rx-drop-noroute none
	check ip_hub route del unreachable "$prefix" metric 20
	check_source "$in_prefix" rx-wgpeer p2
	check ip_hub "-$1" nexthop add id 9 blackhole
	check ip_hub route add "$prefix" nhid 9 metric 40
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[3]}" metric 50
	check_source "$in_prefix" rx-wgpeer p2
	check ip_hub route del "$prefix" metric 30
	check_source "$in_prefix" rx-drop-noroute none
	check ip_hub route del "$prefix" metric 40
	check_source "$in_prefix" rx-wgpeer p3
	check ip_hub link del other
}

# No peer has an address of the hub, wherever the hub has it. (For IPv4 the stack
# itself drops that, behind the device.)
own_elsewhere()
{
	family 6
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub address add 2001:db8::1/64 dev other nodad
	check ip_hub -6 route add default dev hub via-wgpeer "${KEY[2]}"
	check_source 2001:db8::1 rx-drop-noroute none
	check ip_hub link del other
	check_source 2001:db8::1 rx-wgpeer p2
}

# IPv4: who has it as a source gets past the filter by a shorter prefix, as past AllowedIPs,
# and is a martian to the stack unless told otherwise. To strict it is no peer's.
own_elsewhere4()
{
	family 4
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub address add 198.51.100.1/24 dev other
	check ip_hub route add default dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_deliver nobody p2 wg0 198.51.100.1 "$hub_addr"
	check in_hub sysctl -qw net.ipv4.conf.hub.accept_local=1
	check_deliver delivered p2 wg0 198.51.100.1 "$hub_addr"
	check_counters rx-wgpeer=2
	check in_hub sysctl -qw net.ipv4.conf.hub.accept_local=0
	# The broadcast address of the other device's subnet
	check_source 198.51.100.255 rx-wgpeer p2
	set_filter strict
	check_source 198.51.100.1 rx-drop-noroute none
	check_source 198.51.100.255 rx-drop-noroute none
	set_filter device
	check ip_hub link del other
}

# What no host has, or hardly any, is like any other address to the filter, as it is to the
# stack.
odd_sources()
{
	local source

	family "$1"
	check ip_hub "-$1" route add default dev hub via-wgpeer "${KEY[2]}"
	if [[ $1 == 6 ]]; then
		check_source ::ffff:198.51.100.1 rx-wgpeer p2
		return
	fi
	for source in 0.0.0.1 240.0.0.1 255.255.255.254; do
		check_source "$source" rx-wgpeer p2
	done
}

link_local()
{
	hub_addr=fe80::fe
	check_source fe80::2 rx-onlink p2
	check_source fe80::77 rx-drop-peer none
	check ip_hub route add fe80::77/128 dev hub via-wgpeer "${KEY[3]}"
	check_source fe80::77 rx-wgpeer p3
	# Each device has its own: one of another device is no other's.
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub address add fe80::77/64 dev other nodad
	check_source fe80::77 rx-wgpeer p3
	check ip_hub link del other
}

# nested ADDRESS: the prefixes of all lengths around it, from the shortest, and with each
# an address that is in it and in no longer one
nested()
{
	python3 - "$1" <<-'END'
		import ipaddress, sys
		address = ipaddress.ip_address(sys.argv[1])
		bits = address.max_prefixlen
		for length in range(bits + 1):
		    prefix = ipaddress.ip_network((address, length), strict=False)
		    flipped = 1 << bits - length - 1 if length < bits else 0
		    print(prefix, type(address)(int(address) ^ flipped))
	END
}

# Each bit of an address counts: of nested prefixes each leads to another peer than the
# next shorter and the next longer one.
every_length()
{
	local address=10.90.165.60 prefixes=() sources=() prefix source length i n

	family "$1"
	[[ $1 == 4 ]] || address=2001:db8:a5a5:3c3c:5a5a:9696:c3c3:a55a
	while read -r prefix source; do
		prefixes+=("$prefix") sources+=("$source")
	done < <(nested "$address")
	n=$((${#prefixes[@]} - 1))
	for ((length = 1; length <= n; length++)); do
		echo "route add ${prefixes[length]} dev hub via-wgpeer ${KEY[length % 3 + 1]}"
	done >"$TMP/routes"
	check ip_hub -batch "$TMP/routes"
	count_from_now
	for ((length = 1; length <= n; length++)); do
		for i in 1 2 3; do
			check_forge "$([[ $i == $((length % 3 + 1)) ]] && echo hub || echo dropped)" \
				"p$i" wg0 "${sources[length]}" "$hub_addr"
		done
	done
	check_counters rx-wgpeer="$n" rx-drop-peer=$((2 * n))
	check_source "${sources[0]}" rx-drop-noroute none
}

for f in 4 6; do
	test_add "IPv$f: a default route" default_route $f
	test_add "IPv$f: the longest of overlapping prefixes" overlapping $f
	test_add "IPv$f: nested prefixes of every length" every_length $f
	test_add "IPv$f: no route, whatever AllowedIPs say" no_route $f
	test_add "IPv$f: a route to an absent peer" absent_peer $f
	test_add "IPv$f: routes that are not unicast" not_unicast $f
	test_add "IPv$f: sources that no reply could go to" martian $f
	test_add "IPv$f: routes through other devices do not count" other_devices $f
	test_add "IPv$f: nexthop objects of other devices do not count" objects_of_other_devices $f
	test_add "IPv$f: routes of one prefix with several metrics" metrics $f
done
test_add "IPv6: the hub's own address on another device" own_elsewhere
test_add "IPv4: the hub's own address on another device" own_elsewhere4
test_add "IPv4: odd sources" odd_sources 4
test_add "IPv6: odd sources" odd_sources 6
test_add "IPv6: link-local sources" link_local

setup_hub 3
set_mode $MODE
tests_run
