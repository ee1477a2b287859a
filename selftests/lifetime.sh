#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Devices, namespaces and the module come and go: the routes of what goes go with
# it, the module stays while a nexthop uses it and else goes, and nothing is left.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"
# shellcheck source=lib/traffic.sh
source "$(dirname "$0")/lib/traffic.sh"

MODE=auto

# One route of each kind, through peer 2 and peer 3. Without wgvia/0002, IPv6 wants a gateway
# for each of several nexthops.
add_routes()
{
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add 10.3.0.0/16 nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add fd02::/48 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add fd03::/48 nexthop via fd00::2 dev hub via-wgpeer "${KEY[2]}" \
		nexthop via fd00::3 dev hub via-wgpeer "${KEY[3]}"
	check ip_hub nexthop add id 1 dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add 10.4.0.0/16 nhid 1
	check ip_hub -6 nexthop add id 2 dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add fd04::/48 nhid 2
	check_states 8
}

check_no_routes()
{
	check_eq "IPv4 routes" "" "$(routes 4)"
	check_eq "IPv6 routes" "" "$(routes 6)"
	check_eq "nexthop objects" "" "$(ip_hub nexthop show)"
}

device_deleted()
{
	local no_device="hub: no such device (list WireGuard devices with: ip link show type wireguard)"

	add_routes
	check_send p2 hub 10.2.0.1
	check ip_hub link del hub
	check_no_routes
	check_fails "wgvia: $no_device" in_hub wgvia show hub
	check_eq "devices" "[]" "$(in_hub wgvia show -j)"
	check_module_idle

	add_hub_device
	check_eq "the next device of this name" \
		'{"mode":"auto","filter":"device","multicast":false,"states":0,"bindings":[],"counted":0}' \
		"$(show '{mode, filter, multicast, states, bindings, counted: ([.counters[]] | add)}')"
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

# Its routes go, its mode stays.
device_moved()
{
	local i

	add_routes
	check_send p2 hub 10.2.0.1
	in_hub wgvia set hub mode on || fail "wgvia set fails"
	check ip_hub link set hub netns "$away"
	check_no_routes
	check_eq "devices that the hub has" "[]" "$(in_hub wgvia show -j)"
	check_module_idle
	check_eq "the device where it is now" '["hub","on",0,[]]' \
		"$(in_ns "$away" wgvia show -j | jq -c '.[0] | [.ifname, .mode, .states, .bindings]')"

	ip -n "$away" -batch - <<-END
		link set hub up
		address add 10.0.0.254/24 dev hub
		address add fd00::fe/64 dev hub
		route add 10.2.0.0/16 dev hub via-wgpeer ${KEY[2]}
		route add fd02::/48 dev hub via-wgpeer ${KEY[3]}
	END
	check_send p2 away 10.2.0.1
	check_send p3 away fd02::1
	check_forge away p2 wg0 10.2.0.1 10.0.0.254
	check_forge away p3 wg0 fd02::1 fd00::fe
	check_eq "bindings in its new namespace" "K2 1 true K3 1 true" \
		"$(in_ns "$away" wgvia show -j hub |
			jq -r '[.[0].bindings[] | "\(.key) \(.states) \(.present)"] | join("\n")' |
			names | sort | paste -sd ' ')"

	check ip -n "$away" link set hub netns "$hub"
	check_eq "routes left behind" "" "$(ip -n "$away" route show; ip -n "$away" -6 route show)"
	check ip_hub link del hub
	add_hub_device
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

namespace_deleted()
{
	local gone=gone-$NETNS_SUFFIX before i

	before=$(cat /sys/module/wgvia/refcnt)
	for i in 1 2 3; do
		check ip netns add "$gone"
		ip -n "$gone" -batch - <<-END || fail "ip -batch fails"
			link set lo up
			link add wg0 type wireguard
			link set wg0 up
			address add 10.0.0.1/24 dev wg0
			address add fd00::1/64 dev wg0
		END
		in_ns "$gone" wg set wg0 private-key /dev/stdin peer "${KEY[2]}" \
			allowed-ips 10.0.0.2/32 <<<"${PRIVATE[0]}"
		check in_ns "$gone" wgvia set wg0 mode on
		ip -n "$gone" -batch - <<-END || fail "ip -batch fails"
			route add 10.2.0.0/16 dev wg0 via-wgpeer ${KEY[2]}
			route add 10.3.0.0/16 via 10.0.0.2 dev wg0
			route add fd02::/48 dev wg0 via-wgpeer ${KEY[2]}
			route append fd02::/48 dev wg0 via-wgpeer ${KEY[2]} metric 7
			nexthop add id 1 dev wg0 via-wgpeer ${KEY[2]}
			route add 10.4.0.0/16 nhid 1
		END
		check_eq "nexthops in the namespace" 4 \
			"$(in_ns "$gone" wgvia show -j wg0 | jq '.[0].states')"
		[[ $(cat /sys/module/wgvia/refcnt) -gt $before ]] ||
			fail "no reference to the module"
		check ip netns del "$gone"
	done
	check_module_idle
	check_send p2 hub 10.0.0.2
}

UNLOAD_REFUSED="rmmod: ERROR: Module wgvia is in use"

# unload_refused ADD -- DEL
unload_refused()
{
	local add del

	add_and_del "$@"
	check ip_hub "${add[@]}"
	check_fails "$UNLOAD_REFUSED" rmmod wgvia
	check_states 1
	check ip_hub "${del[@]}"
	check_module_idle
	check rmmod wgvia
	check_eq "loaded modules" "" "$(lsmod | grep ^wgvia)"
	check modprobe wgvia
}

# A connected socket keeps the dst, and with it the state: the route has gone, but the
# module is needed all the same.
unload_refused_by_dst()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	packets open s hub "$addr"
	packets again s
	check_eq "sent through the route" p2 "$REPLY"
	check ip_hub route del "$prefix"
	check_states 1
	check_fails "$UNLOAD_REFUSED" rmmod wgvia
	packets close s
	check_module_idle
	check rmmod wgvia
	check modprobe wgvia
}

# The dst outlives the device too.
device_deleted_under_socket()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	packets open s hub "$addr"
	packets again s
	check_eq "sent through the route" p2 "$REPLY"
	check ip_hub link del hub
	check_eq "devices" "[]" "$(in_hub wgvia show -j)"
	check_fails "$UNLOAD_REFUSED" rmmod wgvia
	packets again s
	check_eq "sent without the device" ENETUNREACH "$REPLY"
	packets close s
	check_module_idle
	check rmmod wgvia

	check modprobe wgvia
	add_hub_device
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

unload_with_traffic_on_route()
{
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check_fails "$UNLOAD_REFUSED" rmmod wgvia
	check_send p2 hub 10.2.0.1
	check_forge hub p2 wg0 10.2.0.1 10.0.0.254
	check_forge dropped p1 wg0 10.2.0.1 10.0.0.254
}

# AllowedIPs give 10.3.0.0/16 and fd03::/48 to peer 1, the gateways are peer 2's.
unload_falls_back()
{
	set_mode on
	check ip_hub route add 10.3.0.0/16 via 10.0.0.2 dev hub
	check ip_hub route add fd03::/48 via fd00::2 dev hub
	packets open s hub 10.3.0.1
	packets again s
	check_eq "sent with the module" p2 "$REPLY"
	check_send p2 hub fd03::1
	check_forge dropped p1 wg0 10.3.0.1 10.0.0.254
	check rmmod wgvia
	packets again s
	check_eq "sent without the module" p1 "$REPLY"
	check_send p1 hub fd03::1
	check_forge hub p1 wg0 10.3.0.1 10.0.0.254
	check_forge dropped p2 wg0 fd03::1 fd00::fe
	check modprobe wgvia
	check_show "a module that is loaded again" \
		'[.mode, .states, ([.counters[]] | add)]' '["auto",0,0]'
	packets again s
	check_eq "sent with the module loaded again" p1 "$REPLY"
	set_mode on
	packets again s
	check_eq "sent in mode on" p2 "$REPLY"
	packets close s
}

loaded() { [[ -d /sys/module/wgvia ]]; }

# Each kind of request has a handler of its own, which must not hold RTNL then.
loads_itself()
{
	local add del f key="via-wgpeer ${KEY[2]}" other="via-wgpeer ${KEY[3]}"

	for f in 4 6; do
		family "$f"
		while IFS=, read -r add del; do
			check rmmod wgvia
			# shellcheck disable=SC2086 # words
			check ip_hub ${add//PREFIX/$prefix}
			loaded || fail "not loaded by: ip $add"
			# shellcheck disable=SC2086 # words
			check ip_hub ${del//PREFIX/$prefix}
			check_module_idle
		done <<-END
			route add PREFIX dev hub $key,route del PREFIX
			route add PREFIX nexthop via $peer2 dev hub $key nexthop via $peer3 dev hub $other,route del PREFIX
			-$f nexthop add id 1 dev hub $key,nexthop del id 1
		END
	done
	check rmmod wgvia
	check_show "what the tool shows" .mode auto
	loaded || fail "the tool does not load the module"
}

# The same peer with the module and without it: nobody may notice.
unload_under_traffic()
{
	local i

	transfer_start 2 10.0.0.2
	for i in {1..5}; do
		set_mode on
		transfer_more 256 || break
		check rmmod wgvia
		transfer_more 256 || break
	done
	transfer_end
}

# The same, to the last packet, and for both ways.
unload_loses_nothing()
{
	local i

	family "$1"
	stream_start "$hub_addr" "$peer2" p2
	for i in {1..10}; do
		set_mode on
		stream_more
		check rmmod wgvia
		stream_more
	done
	stream_end
}

setup_hub 3 away
set_mode $MODE

test_add "a device is deleted" device_deleted
test_add "a device moves to another namespace and back" device_moved
test_add "a namespace is deleted with routes in it" namespace_deleted
test_add "unload is refused while an IPv4 route uses it" unload_refused \
	route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}" -- route del 10.2.0.0/16
test_add "unload is refused while an IPv6 route uses it" unload_refused \
	route add fd02::/48 dev hub via-wgpeer "${KEY[2]}" -- route del fd02::/48
test_add "unload is refused while an IPv4 nexthop object uses it" unload_refused \
	nexthop add id 1 dev hub via-wgpeer "${KEY[2]}" -- nexthop del id 1
test_add "unload is refused while an IPv6 nexthop object uses it" unload_refused \
	-6 nexthop add id 1 dev hub via-wgpeer "${KEY[2]}" -- nexthop del id 1
for f in 4 6; do
	test_add "IPv$f: unload is refused while a dst uses it" unload_refused_by_dst $f
	test_add "IPv$f: a device is deleted under a connected socket" \
		device_deleted_under_socket $f
done
test_add "a refused unload changes nothing" unload_with_traffic_on_route
test_add "after an unload AllowedIPs decide at once" unload_falls_back
test_add "the module loads when it is needed" loads_itself
test_add "unload and load under traffic lose no connection" unload_under_traffic
for f in 4 6; do
	test_add "IPv$f: unload and load lose no packet" unload_loses_nothing $f
done

tests_run
