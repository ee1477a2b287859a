#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Multicast on: a packet to a link-scope group is copied to the peers of the device,
# unless a nexthop names one of them. Multicast off: it is as any other packet.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=auto

test_reset()
{
	reset_hub
	flush_rules
	set_multicast on
}

set_multicast() { check in_hub wgvia set hub multicast "$1"; }

# groups FAMILY: a group of the link, one for routers of it, and one that is not of the link
groups()
{
	family "$1"
	if [[ $f == 4 ]]; then
		group=224.0.0.5 other_group=224.0.0.251 wide=239.1.2.3
	else
		group=ff02::5 other_group=ff02::fb wide=ff0e::123
	fi
}

# check_copies EXPECTED NAME DST [OPTION]...: who gets how many copies of a datagram. A session
# keeps the order, so that what has not come before a later packet was not sent.
check_copies()
{
	local expected=$1 i
	shift

	packets copy "$@"
	check_eq "datagram sent by $1 to $2" sent "$REPLY"
	for i in 1 2 3; do
		check_send "p$i" hub "10.0.0.$i"
	done
	packets copied
	check_eq "who gets the datagram sent by $1 to $2" "$expected" "$REPLY"
}

all_peers()
{
	local mode

	groups "$1"
	for mode in auto on; do
		set_mode "$mode"
		count_from_now
		check_copies "p1=1 p2=1 p3=1" hub "$group" connect=no dev=hub
		check_copies "p1=1 p2=1 p3=1" hub "$other_group" connect=no dev=hub
		case $mode in
		auto) check_counters tx-multicast=2 multicast-copies=6 ;;
		# With the packets that check_copies sends
		on) check_counters tx-multicast=2 multicast-copies=6 tx-onlink=6 ;;
		esac
	done
}

multicast_off()
{
	groups "$1"
	set_multicast off
	check_send ENOKEY hub "$group" connect=no dev=hub
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips +224.0.0.0/4,+ff00::/8
	count_from_now
	check_copies "p2=1" hub "$group" connect=no dev=hub
	check_counters
	set_multicast on
	check_copies "p1=1 p2=1 p3=1" hub "$group" connect=no dev=hub
	add_peer 2
}

# Groups of a wider scope go to one peer, or to nobody.
link_scope_alone()
{
	groups "$1"
	count_from_now
	check_send ENOKEY hub "$wide" connect=no dev=hub
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips +224.0.0.0/4,+ff00::/8
	check_copies "p2=1" hub "$wide" connect=no dev=hub
	check_counters
	add_peer 2
	by_route "$wide"
}

packet_socket()
{
	groups "$1"
	count_from_now
	forge hub hub "$hub_addr" "$group"
	[[ $REPLY == *p* ]] || fail "nobody gets it: $REPLY"
	check_counters tx-multicast=1 multicast-copies=3
}

# Each copy of a large packet is segmented for itself.
segments()
{
	groups "$1"
	count_from_now
	packets large 15 3 hub "$group" connect=no dev=hub
	check_eq "datagrams received" "p1=15 p2=15 p3=15" "$REPLY"
	check_counters tx-multicast=15 multicast-copies=45
}

# A nexthop that names a peer has it alone.
keyed()
{
	groups "$1"
	by_route "$group"
}

# by_route GROUP: its route names a peer. (IPv4 takes no route where the device is given.)
by_route()
{
	local group=$1 option=()

	if [[ $f == 4 ]]; then
		check ip_hub route add "$group" dev hub via-wgpeer "${KEY[2]}"
	else
		option=(dev=hub)
		check ip_hub route add multicast "$group" dev hub via-wgpeer "${KEY[2]}" table local
	fi
	count_from_now
	check_copies "p2=1" hub "$group" connect=no "${option[@]}"
	check_counters tx-wgpeer=1
	check remove_peer 2
	count_from_now
	check_send ENOKEY hub "$group" connect=no "${option[@]}"
	check_counters tx-drop-wgpeer=1
	check add_peer 2
	[[ $f == 4 ]] || check ip_hub route del multicast "$group" dev hub table local
}

# So does a neighbour that the sender named, in every mode, and nobody if there is none.
named_by_sender()
{
	local mode

	groups "$1"
	for mode in auto on; do
		set_mode "$mode"
		count_from_now
		check_raw p2 hub "$gateway" "$hub_addr" "$group"
		check_counters tx-gateway=1
		count_from_now
		check_raw ENOKEY hub "${peer1%1}99" "$hub_addr" "$group"
		check_counters tx-drop-gateway=1
	done
}

has_copies()
{
	packets copied
	[[ $REPLY == "$1" ]]
}

# A packet that came in by the device is not sent out again: there are no loops.
no_loops()
{
	local i

	groups "$1"
	check in_hub tc qdisc add dev hub clsact
	check in_hub tc filter add dev hub ingress matchall action mirred egress redirect dev hub
	packets copy p1 "$group" connect=no dev=wg0
	check_eq "sent by peer 1" sent "$REPLY"
	busywait has_copies "hub=1" || fail "the hub does not get it, but: $REPLY"
	check in_hub tc qdisc del dev hub clsact
	for i in 2 3; do
		check_send "p$i" hub "10.0.0.$i"
	done
	packets copied
	check_eq "who gets what peer 1 sends to the group" "hub=1" "$REPLY"
}

# With nftables the host can pass on what came in. No kernel of ours has that.
can_duplicate() { nft -c "table ip t { chain c { type filter hook prerouting priority 0; dup to 10.0.0.2; }; }"; }

# duplicated FAMILY: to the neighbour whom it names, and nobody else
duplicated()
{
	local ip=ip mode accepted=rx-onlink

	groups "$1"
	# From a link-local address
	[[ $f == 4 ]] || ip=ip6 accepted=rx-neighbour
	check in_hub nft "table $ip copies {
		chain in {
			type filter hook prerouting priority 0;
			iifname hub $ip daddr $group dup to $gateway device hub;
		};
	}"
	for mode in auto on; do
		set_mode "$mode"
		count_from_now
		packets copy p1 "$group" connect=no dev=wg0
		check_eq "sent by peer 1" sent "$REPLY"
		busywait has_copies "hub=1 p2=1" || fail "in mode $mode this is who gets it: $REPLY"
		case $mode in
		auto) check_counters tx-gateway=1 ;;
		on) check_counters tx-gateway=1 $accepted=1 ;;
		esac
	done
	check in_hub nft delete table "$ip" copies
}

# A peer with an endpoint and without a session gets one; one without an endpoint gets nothing,
# and keeps nobody else from it.
new_peers()
{
	local idle

	groups "$1"
	idle=$(wg genkey | wg pubkey)
	check remove_peer 3
	check add_peer 3
	check in_hub wg set hub peer "$idle"
	count_from_now
	check_copies "p1=1 p2=1 p3=1" hub "$group" connect=no dev=hub
	check_counters tx-multicast=1 multicast-copies=3
	check remove_peer 3
	check_copies_without_3
	check add_peer 3
	check_send p3 hub 10.0.0.3
	check in_hub wg set hub peer "$idle" remove
}

check_copies_without_3()
{
	local i

	packets copy hub "$group" connect=no dev=hub
	for i in 1 2; do
		check_send "p$i" hub "10.0.0.$i"
	done
	packets copied
	check_eq "who gets the datagram when peer 3 has gone" "p1=1 p2=1" "$REPLY"
}

no_peers()
{
	local i

	groups "$1"
	for i in 1 2 3; do
		check remove_peer "$i"
	done
	count_from_now
	check_send ENOKEY hub "$group" connect=no dev=hub
	check_counters tx-drop-multicast=1
	for i in 1 2 3; do
		check add_peer "$i"
	done
	# shellcheck disable=SC2119 # none of its options
	warm_up
}

# Received group packets are filtered by their source as any other packet.
received()
{
	groups "$1"
	set_mode on
	count_from_now
	check_forge hub p2 wg0 "$peer2" "$group"
	check_forge dropped p3 wg0 "$peer2" "$group"
	check_counters rx-onlink=1 rx-drop-peer=1
	set_mode auto
	check ip_hub route add "$prefix" dev hub via-wgpeer "${KEY[2]}"
	count_from_now
	check_forge hub p2 wg0 "$addr" "$group"
	check_forge dropped p3 wg0 "$addr" "$group"
	check_counters rx-wgpeer=1 rx-drop-peer=1
}

# crowd COUNT: peers without an endpoint, as a configuration
crowd() { random_keys "$1" | sed 's/^/[Peer]\nPublicKey = /' >"$TMP/crowd"; }

# Of packets that come faster than all peers can be looked at, 16 wait, and the copies of those that
# do not are counted. None of these peers has an endpoint. Each has a thread of the kernel, of which
# a checked kernel has memory for fewer.
more_than_may_wait()
{
	local peers=$((SLOW > 1 ? 2500 : 6000))

	check ip_hub link add crowd type wireguard
	crowd "$peers"
	check in_hub wg addconf crowd "$TMP/crowd"
	check in_hub wgvia set crowd multicast on
	check ip_hub link set crowd up
	check ip_hub address add fe80::1/64 dev crowd
	in_hub python3 - <<-'END' || fail "a packet of which nobody gets a copy is taken for sent"
		import errno, socket, sys
		sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
		sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"crowd")
		for _ in range(400):
		    try:
		        sock.sendto(b"", ("ff02::5", 9))
		        sys.exit(1)
		    except OSError as err:
		        if err.errno != errno.ENOKEY:
		            raise
	END
	[[ $(show_crowd .multicast_drops) -gt 0 ]] || fail "no packet has waited in vain"
	# The kernel's own reports of groups are sent to nobody as well.
	check_eq "no copies, and each is counted" true \
		"$(show_crowd '.multicast_copies == 0 and .tx_drop_multicast >= 400')"
	check ip_hub link del crowd
}

show_crowd() { in_hub wgvia show -j crowd | jq -c ".[0].counters | $1"; }

new_hub()
{
	check ip_hub link del hub
	add_hub_device
	set_mode auto
}

copies_are() { [[ $(show .counters.multicast_copies) == "$1" ]]; }

# A packet looks at a thousand peers where it is sent, and at the others later. Of those of the topology
# one is the first and two are the last.
later()
{
	local i

	groups 6
	new_hub
	for i in 2 3; do
		check remove_peer "$i"
	done
	crowd 1030
	check in_hub wg addconf hub "$TMP/crowd"
	for i in 2 3; do
		check add_peer "$i"
	done
	# shellcheck disable=SC2119 # none of its options
	warm_up
	set_multicast on
	packets copy hub "$group" connect=no dev=hub
	check_eq "datagram to the group" sent "$REPLY"
	busywait has_copies "p1=1 p2=1 p3=1" || fail "this is who gets it: $REPLY"
	busywait copies_are 3 || fail "copies: $(show .counters.multicast_copies)"
	new_hub
	# shellcheck disable=SC2119
	warm_up
}

# watch_groups: counters in each peer's namespace, before anything there could drop a packet
watch_groups()
{
	local i

	for i in 1 2 3; do
		in_peer "$i" nft -f - <<-END || bail_out "no counters"
			table inet seen {
				counter adverts { }
				counter reports4 { }
				counter reports6 { }
				counter old4 { }
				counter old6 { }
				counter daemon4 { }
				counter daemon6 { }
				chain input {
					type filter hook prerouting priority raw
					iifname != "wg0" return
					ip6 daddr ff02::1 icmpv6 type nd-router-advert counter name adverts
					ip daddr 224.0.0.22 ip protocol igmp counter name reports4
					ip6 daddr ff02::16 icmpv6 type mld2-listener-report counter name reports6
					ip daddr 239.1.2.3 ip protocol igmp counter name old4
					ip6 daddr ff0e::123 icmpv6 type mld-listener-report counter name old6
					ip daddr 224.0.0.5 udp dport 4747 counter name daemon4
					ip6 daddr ff02::6 udp dport 4747 counter name daemon6
				}
			}
		END
	done
}

unwatch_groups()
{
	local i

	for i in 1 2 3; do
		check in_peer "$i" nft delete table inet seen
	done
}

# came PEER NAME: packets that the counter has seen there
came() { in_peer "$1" nft -j list counter inet seen "$2" | jq '.nftables[] | .counter // empty | .packets'; }

has_come() { [[ $(came "$@") -gt 0 ]]; }

# check_came NAME PEER...: something has come to these, and nothing to others. What each peer gets
# before this was sent before.
check_came()
{
	local name=$1 i got=()

	for i in "${@:2}"; do
		busywait has_come "$i" "$name" || fail "$name: none comes to peer $i"
	done
	for i in 1 2 3; do
		check_send "p$i" hub "10.0.0.$i"
		! has_come "$i" "$name" || got+=("$i")
	done
	check_eq "peers to which $name comes" "${*:2}" "${got[*]}"
}

# Not only datagrams: what routers advertise, and the kernel's own reports of groups, which go to
# groups of the link whatever the scope of those that they report.
other_protocols()
{
	local name

	watch_groups
	check ip_hub address add 239.1.2.3/32 dev hub autojoin
	check ip_hub address add ff0e::123/128 dev hub autojoin
	check in_hub python3 -c '
import socket
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
sock.sendto(bytes([134, 0, 0, 0, 64, 0, 0, 0]) + bytes(8), ("ff02::1", 0, 0, socket.if_nametoindex("hub")))'
	for name in adverts reports4 reports6; do
		check_came "$name" 1 2 3
	done
	check ip_hub address del 239.1.2.3/32 dev hub
	check ip_hub address del ff0e::123/128 dev hub
	unwatch_groups
}

# Reports of the older versions go to the very group that they report.
old_reports()
{
	local name

	watch_groups
	check in_hub sysctl -qw net.ipv4.conf.hub.force_igmp_version=2 net.ipv6.conf.hub.force_mld_version=1
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips +239.1.2.3/32,+ff0e::123/128
	check ip_hub address add 239.1.2.3/32 dev hub autojoin
	check ip_hub address add ff0e::123/128 dev hub autojoin
	for name in old4 old6; do
		check_came "$name" 2
	done
	check ip_hub address del 239.1.2.3/32 dev hub
	check ip_hub address del ff0e::123/128 dev hub
	check in_hub sysctl -qw net.ipv4.conf.hub.force_igmp_version=0 net.ipv6.conf.hub.force_mld_version=0
	check add_peer 2
	unwatch_groups
}

# Two daemons send at once, to a group each, less than fits in WireGuard's queue.
at_once()
{
	local i

	watch_groups
	count_from_now
	check in_hub python3 -c '
import os, socket
for family, group in (socket.AF_INET, "224.0.0.5"), (socket.AF_INET6, "ff02::6"):
    if not os.fork():
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"hub")
        for _ in range(60):
            sock.sendto(b"hello", (group, 4747))
        os._exit(0)
assert [os.wait()[1] for _ in range(2)] == [0, 0]'
	check_counters tx-multicast=120 multicast-copies=360
	for i in 1 2 3; do
		check_send "p$i" hub "10.0.0.$i"
		check_eq "datagrams of each that come to peer $i" "60 60" "$(came "$i" daemon4) $(came "$i" daemon6)"
	done
	unwatch_groups
}

flags() { ip_hub -j link show "$1" | jq -r '.[0].flags | map(select(. == "MULTICAST")) | join(" ")'; }

# mDNS and some daemons look for it.
flag()
{
	check ip_hub link add fresh type wireguard
	check_eq "flag of a new device" "" "$(flags fresh)"
	check in_hub wgvia set fresh multicast on
	check_eq "flag with multicast on" MULTICAST "$(flags fresh)"
	check in_hub wgvia set fresh multicast off
	check_eq "flag that stays" MULTICAST "$(flags fresh)"
	check ip_hub link del fresh
}

for f in 4 6; do
	test_add "IPv$f: all peers get a copy" all_peers $f
	test_add "IPv$f: off: as any other packet" multicast_off $f
	test_add "IPv$f: groups of a wider scope" link_scope_alone $f
	test_add "IPv$f: a packet socket" packet_socket $f
	test_add "IPv$f: the segments of a large packet" segments $f
	test_add "IPv$f: a nexthop that names a peer" keyed $f
	test_add "IPv$f: a next hop that the sender names" named_by_sender $f
	test_add "IPv$f: no loops" no_loops $f
	! can_duplicate 2>/dev/null || test_add "IPv$f: what came in is passed on to a neighbour" duplicated $f
	test_add "IPv$f: peers without a session and without an endpoint" new_peers $f
	test_add "IPv$f: no peers" no_peers $f
	test_add "IPv$f: what is received" received $f
done
test_add "more packets than may wait" more_than_may_wait
test_add "more peers than a packet looks at where it is sent" later
test_add "router advertisements, IGMP and MLD reports" other_protocols
test_add "reports that go to groups of a wider scope" old_reports
test_add "two daemons at once" at_once
test_add "the device says that it knows multicast" flag

setup_hub 3
set_multicast on
tests_run
