#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packets that come to the device without a route of it (packet sockets, redirects
# by tc, BPF and nftables, a bond) get a lookup of their own.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

test_reset()
{
	reset_hub
	flush_rules
}

# every_way NAME DEV SRC: the rule, for packets that NAME sends through DEV
every_way()
{
	local name=$1 dev=$2 src=$3

	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_forge p2 "$name" "$dev" "$src" "$addr"
	check_counters tx-wgpeer=1

	check ip_hub route replace "$prefix" via "$gateway" dev hub
	count_from_now
	check_forge p2 "$name" "$dev" "$src" "$addr"
	check_counters tx-gateway=1

	check ip_hub route replace "$prefix" dev hub
	count_from_now
	check_forge p1 "$name" "$dev" "$src" "$addr"
	check_forge p3 "$name" "$dev" "$src" "$peer3"
	check_counters tx-onlink=2

	# Routes through other devices say nothing.
	check ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[3]}"
	check ip_hub route add "$longer" dev ul
	count_from_now
	check_forge p3 "$name" "$dev" "$src" "$longer_addr"
	check_counters tx-wgpeer=1
}

# not_sent NAME DEV SRC RESULT: what there is no way for
not_sent()
{
	local name=$1 dev=$2 src=$3 result=$4

	count_from_now
	check_forge "$result" "$name" "$dev" "$src" "$addr"
	check_counters tx-drop-noroute=1
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add blackhole "$longer"
	count_from_now
	if [[ $f == 4 ]]; then
		check_forge "$result" "$name" "$dev" "$src" "$longer_addr"
		check_counters tx-drop-noroute=1
	else
		# As for a socket that is bound to the device: what rejects is on no device.
		check_forge p2 "$name" "$dev" "$src" "$longer_addr"
		check_counters tx-wgpeer=1
	fi
	check_warns "$NO_PEER_YET" ip_hub route replace "$prefix" dev hub \
		via-wgpeer "$(wg genkey | wg pubkey)"
	count_from_now
	check_forge "$result" "$name" "$dev" "$src" "$addr"
	check_counters tx-drop-wgpeer=1
}

packet_socket()
{
	family "$1"
	every_way hub hub "$hub_addr"
}

packet_socket_not_sent()
{
	family "$1"
	not_sent hub hub "$hub_addr" ENOKEY
}

packet_socket_off()
{
	family "$1"
	check ip_hub route add "$prefix" via "$gateway" dev hub
	check_forge p2 hub hub "$hub_addr" "$addr"
	set_mode off
	count_from_now
	check_forge p1 hub hub "$hub_addr" "$addr"
	check_forge ENOKEY hub hub "$hub_addr" "$nobodys"
	check_counters
}

# Mode auto: what the lookup finds counts if it names a peer, and AllowedIPs do else.
packet_socket_auto()
{
	family "$1"
	set_mode auto
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub route add "$prefix2" via "$gateway" dev hub
	check ip_hub route add "$prefix3" dev hub
	check ip_hub route add blackhole "$longer"
	count_from_now
	check_forge p2 hub hub "$hub_addr" "$addr"
	check_counters tx-wgpeer=1
	count_from_now
	check_forge p1 hub hub "$hub_addr" "$addr2"
	check_forge p1 hub hub "$hub_addr" "$addr3"
	check_forge p1 hub hub "$hub_addr" "$all_addr"
	# IPv6 passes over what rejects, see not_sent().
	[[ $f == 6 ]] || check_forge p1 hub hub "$hub_addr" "$longer_addr"
	check_forge ENOKEY hub hub "$hub_addr" "$nobodys"
	check_counters
	check_warns "$NO_PEER_YET" ip_hub route replace "$prefix" dev hub \
		via-wgpeer "$(wg genkey | wg pubkey)"
	count_from_now
	check_forge ENOKEY hub hub "$hub_addr" "$addr"
	check_counters tx-drop-wgpeer=1
}

packet_socket_rules()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" rule add from "$hub_addr" table 100 pref 100 proto boot
	check_forge p3 hub hub "$hub_addr" "$addr"
	check_forge p2 hub hub "$peer3" "$addr"
	check ip_hub "-$f" rule del pref 100
	check ip_hub "-$f" rule add iif lo ipproto udp dport 4747 table 100 pref 100 proto boot
	check_forge p3 hub hub "$hub_addr" "$addr"
	check ip_hub "-$f" rule del pref 100
	check ip_hub "-$f" rule add iif lo ipproto udp dport 4748 table 100 pref 100 proto boot
	check_forge p2 hub hub "$hub_addr" "$addr"
}

# No default route leads to a group or to all, as for a socket that is bound to the device.
packet_socket_groups()
{
	local dst

	family 4
	check ip_hub -4 route add default dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_forge p2 hub hub "$hub_addr" "$nobodys"
	check_counters tx-wgpeer=1
	for dst in 224.0.0.251 239.255.0.1 255.255.255.255; do
		count_from_now
		check_forge ENOKEY hub hub "$hub_addr" "$dst"
		check_counters tx-drop-noroute=1
	done
	check ip_hub -4 route add 224.0.0.0/4 dev hub via-wgpeer "${KEY[3]}"
	count_from_now
	check_forge p3 hub hub "$hub_addr" 239.255.0.1
	check_counters tx-wgpeer=1
	count_from_now
	check_forge ENOKEY hub hub "$hub_addr" 224.0.0.251
	check_counters tx-drop-noroute=1
}

# Rules for users are for those whose socket it is.
packet_socket_users()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" rule add uidrange 4747-4747 table 100 pref 100 proto boot
	check_forge p3 hub hub "$hub_addr" "$addr" uid=4747
	check_forge p2 hub hub "$hub_addr" "$addr" uid=4746
	check_forge p2 hub hub "$hub_addr" "$addr"
}

# The DSCP counts in rules, and for IPv4 in routes; the other two bits (ECN) do not.
packet_socket_dscp()
{
	local rule

	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	for rule in "dscp 4" "tos 0x10"; do
		# shellcheck disable=SC2086 # two words
		check ip_hub "-$f" rule add $rule table 100 pref 100 proto boot
		check_forge p2 hub hub "$hub_addr" "$addr"
		check_forge p3 hub hub "$hub_addr" "$addr" tos=0x10
		check_forge p3 hub hub "$hub_addr" "$addr" tos=0x13
		check_forge p2 hub hub "$hub_addr" "$addr" tos=0x20
		check ip_hub "-$f" rule del pref 100
	done
	[[ $f == 4 ]] || return
	check ip_hub route add "$prefix" tos 0x10 dev hub via-wgpeer "${KEY[1]}"
	check_forge p1 hub hub "$hub_addr" "$addr" tos=0x10
	check_forge p2 hub hub "$hub_addr" "$addr"
}

# check_flows EXPECTED COMMAND...: where the packets of many flows go, each to an
# address of its own; the command's last word is its beginning
check_flows()
{
	local expected=$1 base=${*: -1} i got=()
	shift

	for i in {1..30}; do
		packets "${@:1:$#-1}" "$base$i"
		got+=("$REPLY")
	done
	check_eq "where flows sent by: ${*:1:$#-1} $base... go" "$expected" "$(distinct "${got[@]}")"
}

# Nobody spreads the flows that have no route: all take the first nexthop on the device.
multipath()
{
	local base first=(dev hub via-wgpeer "${KEY[2]}") second=(dev hub via-wgpeer "${KEY[3]}")

	family "$1"
	base=${addr%1}
	check ip_hub route add "$prefix" nexthop "${first[@]}" nexthop "${second[@]}"
	check_flows "p2 p3" send hub "$base"
	count_from_now
	check_flows p2 forge hub hub "$hub_addr" "$base"
	check_counters tx-wgpeer=30
	check ip_hub route del "$prefix"
	check ip_hub route add "$prefix" nexthop "${second[@]}" weight 1 nexthop "${first[@]}" weight 9
	check_flows p3 forge hub hub "$hub_addr" "$base"
	check ip_hub route del "$prefix"

	check ip_hub "-$f" nexthop add id 2 "${first[@]}"
	check ip_hub "-$f" nexthop add id 3 "${second[@]}"
	check ip_hub nexthop add id 9 group 3/2
	check ip_hub "-$f" route add "$prefix" nhid 9
	check_flows "p2 p3" send hub "$base"
	check_flows p3 forge hub hub "$hub_addr" "$base"
	check ip_hub nexthop replace id 9 group 2/3
	check_flows p2 forge hub hub "$hub_addr" "$base"
}

# One through another device is passed over, wherever it stands.
multipath_devices()
{
	local base other=203.0.113.9

	family "$1"
	base=${addr%1}
	[[ $f == 4 ]] || other=2001:db8:1::9
	check ip_hub route add "$prefix" nexthop via "$other" dev lan weight 100 \
		nexthop dev hub via-wgpeer "${KEY[3]}" nexthop dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_flows p3 forge hub hub "$hub_addr" "$base"
	check_counters tx-wgpeer=30
}

redirect_start()
{
	check in_hub tc qdisc add dev lan clsact
	check in_hub tc filter add dev lan ingress matchall action mirred egress redirect dev hub
}

redirect_stop()
{
	check in_hub tc qdisc del dev lan clsact
}

# The packets of lan go to the device unrouted.
redirect()
{
	family "$1"
	redirect_start
	every_way lan hub "$lan_addr"
	redirect_stop
}

redirect_not_sent()
{
	family "$1"
	redirect_start
	not_sent lan hub "$lan_addr" dropped
	redirect_stop
}

redirect_mark()
{
	family "$1"
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check ip_hub "-$f" route add "$prefix" dev hub via-wgpeer "${KEY[3]}" table 100
	check ip_hub "-$f" rule add fwmark 7 table 100 pref 100 proto boot
	redirect_start
	check_forge p2 lan hub "$lan_addr" "$addr"
	redirect_stop
	check in_hub tc qdisc add dev lan clsact
	check in_hub tc filter add dev lan ingress matchall action skbedit mark 7 pipe \
		action mirred egress redirect dev hub
	check_forge p3 lan hub "$lan_addr" "$addr"
	redirect_stop
}

# bpf HELPER FAMILY: the same by a BPF program. Only bpf_redirect_neigh() looks the
# route up, and finds none itself.
bpf()
{
	local pid ready fd

	family "$2"
	exec {fd}< <(exec nsenter --net="/run/netns/$hub" "$selftests/lib/redirect.py" "$1" lan hub 2>&1)
	pid=$!
	read -r -t $((20 * SLOW)) -u "$fd" ready
	check_eq "lib/redirect.py $1" ready "$ready"
	every_way lan hub "$lan_addr"
	if [[ $1 == redirect ]]; then
		reset_hub
		not_sent lan hub "$lan_addr" dropped
	fi
	exec {fd}<&-
	kill "$pid"
	wait "$pid" 2>/dev/null
}

# nftables can leave out the route too. It wants the address of a next hop, of
# which a device without neighbours makes nothing.
nft_fwd()
{
	local ip=ip

	family "$1"
	[[ $f == 4 ]] || ip=ip6
	cat >"$TMP/nft" <<-END
		table netdev no_dst {
			chain lan {
				type filter hook ingress device lan priority 0
				udp dport 4747 fwd $ip to $nobodys device hub
			}
		}
	END
	check in_hub nft -f "$TMP/nft"
	every_way lan hub "$lan_addr"
	reset_hub
	not_sent lan hub "$lan_addr" dropped
	check in_hub nft delete table netdev no_dst
}

# A packet that a bond sends was routed to the bond.
bond()
{
	family "$1"
	check ip_hub link set hub down
	check ip_hub link add bond type bond mode active-backup miimon 100
	check ip_hub link set hub master bond
	check ip_hub link set bond up
	busywait bond_sends || fail "the bond has no active device"
	[[ $f == 4 ]] || check ip_hub address add fd00::fe/64 dev hub
	# shellcheck disable=SC2119 # none of its options
	warm_up
	check ip_hub route add "$prefix" dev bond src "$hub_addr"
	check ip_hub route add "$all" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters tx-wgpeer=1 rx-wgpeer=1 rx-drop-peer=1
	check ip_hub route replace "$all" dev hub via-wgpeer "${KEY[3]}"
	check_send p3 hub "$addr"
	check ip_hub route del "$all" dev hub
	count_from_now
	check_send ENOKEY hub "$addr"
	check_counters tx-drop-noroute=1
	check ip_hub link del bond
	check ip_hub link del hub
	add_hub_device
	set_mode "$MODE"
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

bond_sends()
{
	[[ $(ip_hub -j -d link show bond | jq -r '.[0].linkinfo.info_data.active_slave') == hub ]]
}

# A device that wants Ethernet below does not take it.
not_ethernet()
{
	check ip_hub link add bridge type bridge
	check_fails "RTNETLINK answers: Invalid argument" ip_hub link set hub master bridge
	check ip_hub link del bridge
	check_fails "RTNETLINK answers: Invalid argument" \
		ip_hub link add link hub name above type macsec
	check_fails "RTNETLINK answers: Invalid argument" \
		ip_hub link add link hub name above type macvlan
	check_fails "Error: 8021q: VLANs not supported on device." \
		ip_hub link add link hub name above type vlan id 5
	check_eq "devices on top" "" "$(ip_hub -br link show | grep -E '^(above|bridge)')"
}

# A packet that was routed to another device has a dst, and not one of ours.
redirect_egress()
{
	family "$1"
	check ip_hub link add other type dummy
	check ip_hub link set other up
	check ip_hub route add "$prefix" dev other
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}" metric 2000
	check in_hub tc qdisc add dev other clsact
	check in_hub tc filter add dev other egress matchall action mirred egress redirect dev hub
	count_from_now
	check_send p2 hub "$addr" src="$hub_addr"
	check_counters tx-wgpeer=1
	check ip_hub link del other
}

# A packet has one nexthop, a multicast packet too. IPv6 has routes of that kind for these; in IPv4
# a socket that has a source takes the source's device and no route (ip_route_output_key_hash_rcu()).
multicast()
{
	local groups=239.0.0.0/8 group=239.1.2.3

	family "$1"
	[[ $f == 4 ]] || groups=ff0e::/16 group=ff0e::123
	local route=(multicast "$groups")
	[[ $f == 4 ]] && route=("$groups") || route+=(table local)
	check ip_hub route add "${route[@]}" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_send p2 hub "$group" connect=no
	check_counters tx-wgpeer=1
	check ip_hub route del "${route[@]}"
}

# Where the kernel asks no route, or takes nothing of it but the device, AllowedIPs decide.
multicast_without_route()
{
	family 4
	in_hub wg set hub peer "${KEY[1]}" allowed-ips "$(allowed_ips 1),224.0.0.0/4"
	check ip_hub route add 224.0.0.0/4 dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_send p1 hub 224.0.0.5 connect=no dev=hub
	check_send p1 hub 239.1.2.3 connect=no src="$hub_addr"
	check_counters tx-onlink=2
	check ip_hub route del 224.0.0.0/4 dev hub
	check ip_hub route add default dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_send p1 hub 239.1.2.3 connect=no
	check_forge ENOKEY hub hub "$hub_addr" 239.1.2.3
	check_counters tx-onlink=1 tx-drop-noroute=1
	add_peer 1
}

for f in 4 6; do
	test_add "IPv$f: packet socket: every way to a peer" packet_socket $f
	test_add "IPv$f: packet socket: no way" packet_socket_not_sent $f
	test_add "IPv$f: packet socket: mode off" packet_socket_off $f
	test_add "IPv$f: packet socket: mode auto" packet_socket_auto $f
	test_add "IPv$f: packet socket: rules for the source" packet_socket_rules $f
	test_add "IPv$f: packet socket: rules for the DSCP" packet_socket_dscp $f
	test_add "IPv$f: packet socket: rules for users" packet_socket_users $f
	test_add "IPv$f: packet socket: the first nexthop of several" multipath $f
	test_add "IPv$f: packet socket: the first nexthop of several on the device" multipath_devices $f
	test_add "IPv$f: tc redirect: every way to a peer" redirect $f
	test_add "IPv$f: tc redirect: no way" redirect_not_sent $f
	test_add "IPv$f: tc redirect: rules for the mark" redirect_mark $f
	test_add "IPv$f: tc redirect of what was routed elsewhere" redirect_egress $f
	test_add "IPv$f: bpf_redirect: every way to a peer, and none" bpf redirect $f
	test_add "IPv$f: bpf_redirect_neigh: every way to a peer" bpf redirect_neigh $f
	test_add "IPv$f: nftables fwd: every way to a peer, and none" nft_fwd $f
	test_add "IPv$f: a bond" bond $f
	test_add "IPv$f: multicast goes to one peer" multicast $f
done
test_add "IPv4: packet socket: groups and broadcasts" packet_socket_groups
test_add "IPv4: multicast that has no route" multicast_without_route
test_add "bridge, MACsec, macvlan, VLAN: not on this device" not_ethernet

setup_hub 3 lan
set_mode $MODE
tests_run
