#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A kernel that was told to do without IPv6 has no tables for it, but WireGuard carries
# it all the same: such packets have no route, and nothing else happens. Only what comes
# in is tried. A packet that WireGuard has no peer for, with wgvia or without, gets an
# ICMPv6 error, and icmp6_send() of 7.3 does not survive that without IPv6.
#
# boot: ipv6.disable=1

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

# send6 NETNS DEV: an IPv6 packet from a packet socket
send6()
{
	in_ns "$1" python3 - "$2" <<-'END'
		import ipaddress, socket, sys
		from lib.packets import ETH_P_IPV6, forged
		packet = forged(ipaddress.ip_address("fd00::1"), ipaddress.ip_address("fd00::fe"), b"")
		sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
		sock.sendto(packet, (sys.argv[1], ETH_P_IPV6))
	END
}

has_moved() { [[ $(show ".counters.$1") -gt $(jq ".[0].counters.$1" <<<"$COUNTED") ]]; }

# received FILTER COUNTER [ALLOWED-IP]: what becomes of a packet from the peer
received()
{
	set_filter "$1"
	[[ $# == 2 ]] || check in_hub wg set hub peer "${KEY[1]}" allowed-ips "10.0.0.1/32,$3"
	count_from_now
	send6 "$p1" wg0
	busywait has_moved "${2//-/_}" || fail "the packet is not counted"
	check_counters "$2=1"
	check in_hub wg set hub peer "${KEY[1]}" allowed-ips 10.0.0.1/32
}

ipv4()
{
	check ip_hub route add 10.1.0.0/16 dev hub via-wgpeer "${KEY[1]}"
	count_from_now
	check_ping 10.1.0.1
	check_counters tx-wgpeer=1 rx-wgpeer=1
}

# The tool says why it can do nothing for IPv6, and nothing has changed after that.
tool()
{
	local reason="the kernel runs without IPv6: start it without ipv6.disable=1 on its command line"
	local before

	before=$(in_hub wg show hub allowed-ips; in_hub wgvia route)
	check_fails "wgvia: hub: $reason" in_hub wgvia linklocal hub
	check_fails "wgvia: $reason" in_hub wgvia route add fd02::/48 dev hub via-wgpeer "${KEY[1]}"
	check_eq "AllowedIPs and routes" "$before" "$(in_hub wg show hub allowed-ips; in_hub wgvia route)"
}

setup()
{
	local ns

	PEERS=1
	new_key 0
	new_key 1
	setup_ns hub p1
	ip_hub link add ul type veth peer name ul netns "$p1"
	for ns in "$hub" "$p1"; do
		ip -n "$ns" link add wg0 type wireguard
		ip -n "$ns" link set ul up
		ip -n "$ns" link set wg0 up
	done
	ip_hub link set wg0 name hub
	ip_hub address add 192.0.2.1/30 dev ul
	ip_hub address add 10.0.0.254/24 dev hub
	ip -n "$p1" address add 192.0.2.2/30 dev ul
	ip -n "$p1" address add 10.0.0.1/24 dev wg0
	ip -n "$p1" address add 10.1.0.1/32 dev lo
	in_hub wg set hub listen-port 51820 private-key /dev/stdin peer "${KEY[1]}" \
		endpoint 192.0.2.2:51820 allowed-ips 10.0.0.1/32 <<<"${PRIVATE[0]}"
	in_ns "$p1" wg set wg0 listen-port 51820 private-key /dev/stdin peer "${KEY[0]}" \
		endpoint 192.0.2.1:51820 allowed-ips 0.0.0.0/0,::/0 <<<"${PRIVATE[1]}"
}

[[ ! -e /proc/sys/net/ipv6/conf ]] || skip_all "the kernel has IPv6: boot it with ipv6.disable=1"
test_add "IPv4 works" ipv4
test_add "the tool says what is missing" tool
test_add "what is received has no route: filter device" received device rx-drop-peer
test_add "what is received has no route: filter loose" received loose rx-drop-peer
test_add "what is received has no route: filter strict" received strict rx-drop-noroute
test_add "what is received is in AllowedIPs: filter device" received device rx-allowedips fd00::/64
test_add "what is received is in AllowedIPs: filter strict" received strict rx-drop-noroute fd00::/64
test_add "what is received is the peer's address: filter device" received device rx-allowedips fd00::1
test_add "what is received is the peer's address: filter strict" received strict rx-neighbour fd00::1
test_add "what is received is accepted: filter none" received none rx-unfiltered

MODE=on
setup
set_mode "$MODE"
tests_run
