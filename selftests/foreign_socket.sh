#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A device that was made in one namespace and moved to another: its UDP socket stays
# behind, and what is encrypted is routed there. Routes that name peers are of the
# namespace that the device is in, and outlive the other one.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

# In the namespace "under" is the way to the peers' sockets, which topology.sh gives the hub.
setup_under()
{
	setup_ns under
	if [[ $(ip_hub link show ul 2>/dev/null) ]]; then
		check ip_hub link set ul netns "$under"
	else
		check ip -n "$under" link add ul type veth peer name hub netns "$ul"
		check ip -n "$ul" link set hub up
		check ip -n "$ul" address add 192.0.2.2/24 dev hub
	fi
	check ip -n "$under" link set ul up
	check ip -n "$under" address add 192.0.2.1/24 dev ul
}

# add_foreign NAME NETNS: a device that was made in "under" is there
add_foreign()
{
	ip -n "$under" link add "$1" type wireguard || bail_out "no WireGuard device"
	check ip -n "$under" link set "$1" netns "$2"
}

new_hub_device()
{
	[[ ${under:-} ]] || setup_under
	add_foreign hub "$hub"
}

test_reset()
{
	local ns

	reset_hub
	set_filter device
	for ns in "$hub" "$under"; do
		ip -n "$ns" rule flush proto boot
		ip -n "$ns" -6 rule flush proto boot
		ip -n "$ns" route flush table all proto boot 2>/dev/null
	done
}

# only_here FILTER FAMILY: what the hub says counts, and nothing that "under" says
only_here()
{
	local peer

	family "$2"
	set_filter "$1"
	check ip -n "$under" "-$f" route add "$prefix" dev ul
	check ip -n "$under" "-$f" rule add to "$prefix" blackhole pref 100 proto boot
	check ip -n "$under" "-$f" rule add from "$hub_addr" blackhole pref 101 proto boot
	case $1 in
	device) check_source "$addr" rx-allowedips p1 ;;
	strict) check_source "$addr" rx-drop-noroute none ;;
	esac

	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	for peer in 2 3; do
		[[ $peer == 2 ]] || check rule add to "$prefix" table 100 pref 100
		count_from_now
		check_send "p$peer" hub "$addr"
		# This one has no route: it is looked up.
		check_forge "p$peer" hub hub "$hub_addr" "$addr"
		check_counters tx-wgpeer=2
		[[ $1 == strict || $peer == 2 ]] || peer=2,p3
		check_source "$addr" rx-wgpeer "p$peer"
	done
	flush_rules

	check ip -n "$under" "-$f" route add "$host2" dev ul
	check ip_hub route replace "$prefix" via "$gateway" dev hub
	count_from_now
	check_send p2 hub "$addr"
	check_counters tx-gateway=1
	check_source "$addr" rx-gateway p2
	# Its own addresses are those of the hub, and not of "under".
	check in_hub wg set hub peer "${KEY[3]}" allowed-ips +192.0.2.1
	if [[ $f == 4 ]]; then
		count_from_now
		check_forge hub p3 wg0 192.0.2.1 "$hub_addr"
		check_counters "$([[ $1 == device ]] && echo rx-allowedips || echo rx-neighbour)=1"
		check_forge dropped p2 wg0 192.0.2.1 "$hub_addr"
	fi
	add_peer 3
}

# The peers' sockets are not reached by the hub's routes.
encrypted()
{
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add 192.0.2.0/24 dev hub via-wgpeer "${KEY[3]}"
	check ip_hub rule add to 192.0.2.0/24 blackhole pref 100 proto boot
	count_from_now
	check_send p2 hub 10.2.0.1
	check_counters tx-wgpeer=1
}

tool()
{
	local what="no such device (list WireGuard devices with: ip link show type wireguard)"

	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check_eq "devices in the namespace of the socket" "[]" "$(in_ns "$under" wgvia show -j)"
	check_fails "wgvia: hub: $what" in_ns "$under" wgvia set hub mode off
	check_show "the device where it is" '[.mode, .states]' '["on",1]'
}

# no_more_than COUNT: references to the module
no_more_than() { [[ $(cat /sys/module/wgvia/refcnt) -le $1 ]]; }

# The device's namespace goes while the one that it was made in stays.
home_deleted()
{
	local home=home-$NETNS_SUFFIX before

	before=$(cat /sys/module/wgvia/refcnt)
	for _ in 1 2; do
		check ip netns add "$home"
		add_foreign wg0 "$home"
		in_ns "$home" wg set wg0 private-key /dev/stdin peer "${KEY[2]}" \
			endpoint 192.0.2.2:51822 allowed-ips 10.0.0.2/32 <<<"${PRIVATE[1]}"
		ip -n "$home" -batch - <<-END || fail "ip -batch fails"
			link set wg0 up
			address add 10.0.0.1/24 dev wg0
			address add fd00::1/64 dev wg0
		END
		check in_ns "$home" wgvia set wg0 mode on
		ip -n "$home" -batch - <<-END || fail "ip -batch fails"
			route add 10.2.0.0/16 dev wg0 via-wgpeer ${KEY[2]}
			route add fd02::/48 dev wg0 via-wgpeer ${KEY[2]}
			nexthop add id 1 dev wg0 via-wgpeer ${KEY[2]}
			route add 10.4.0.0/16 nhid 1
		END
		# A packet on its way, which waits for a session with a stranger
		in_ns "$home" ping -n -q -c 1 -W 0.01 10.2.0.1 >/dev/null
		[[ $(cat /sys/module/wgvia/refcnt) -gt $before ]] || fail "no reference to the module"
		check ip netns del "$home"
		busywait no_more_than "$before" || fail "references to the module stay"
	done
	check_module_idle
	check_send p2 hub 10.0.0.2
}

# The other end of the link between the two is in the namespace that stays.
under_gone() { ! ip -n "$ul" link show hub >/dev/null 2>&1; }

routes_and_bindings()
{
	routes 4
	routes 6
	show '.states, (.bindings | sort_by(.key))' | names
}

# The namespace of the socket goes: the device has no way to its peers any more, and all
# that it is told is as ever.
under_deleted()
{
	local before sent

	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add fd02::/48 nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_send p2 hub 10.2.0.1
	packets open s hub 10.2.0.1
	packets again s
	check_eq "sent by a connected socket" p2 "$REPLY"
	before=$(routes_and_bindings)
	check ip netns del "$under"
	busywait under_gone || fail "the namespace does not go"
	check_eq "routes and bindings, as before" "$before" \
		"$(routes_and_bindings | sed 's/ linkdown//')"

	# WireGuard has no socket, and has said so: it has no carrier, and soon gets no packets.
	check_eq "state of the device" true "$(ip_hub -j link show hub | jq '.[0].flags | any(. == "NO-CARRIER")')"
	sent=$(sent_to 2)
	in_hub ping -n -q -c 1 -W 0.01 10.2.0.1 >/dev/null && fail "an answer"
	check_eq "bytes sent to peer 2" "$sent" "$(sent_to 2)"
	packets close s
	check ip_hub route replace 10.2.0.0/16 dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add 10.3.0.0/16 dev hub via-wgpeer "${KEY[1]}"
	check ip_hub route del fd02::/48
	check_states 2
	set_mode auto
	check_show "mode" .mode auto
	set_mode on
	check remove_peer 3
	check_show "peers that are there" '[.bindings[] | select(.present).key] | join(" ")' K1
	check add_peer 3
	check ip_hub link del hub
	check_module_idle

	# The next device, with a new namespace under it
	under=
	add_hub_device
	set_mode "$MODE"
	# shellcheck disable=SC2119 # none of its options
	warm_up
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check_send p2 hub 10.2.0.1
	check_forge hub p2 wg0 10.2.0.1 10.0.0.254
	check_forge dropped p3 wg0 10.2.0.1 10.0.0.254
}

for f in 4 6; do
	test_add "IPv$f: device: routes and rules of the device's namespace count" only_here device $f
	test_add "IPv$f: strict: routes and rules of the device's namespace count" only_here strict $f
done
test_add "what is encrypted follows those of the socket's namespace" encrypted
test_add "the tool shows and sets it where it is" tool
test_add "the device's namespace is deleted" home_deleted
test_add "the socket's namespace is deleted" under_deleted

under=
setup_hub 3
set_mode $MODE
tests_run
