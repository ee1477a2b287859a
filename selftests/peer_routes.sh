#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Routes that a peer would like the hub to have. A host that does not forward believes
# router advertisements and redirects by default, and every peer can send them: they
# may not decide which peer gets a packet, and who may send from an address.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

MODE=on

test_reset()
{
	reset_hub
	flush_rules
}

icmp()
{
	local peer=$1
	shift

	in_peer "$peer" "$selftests/lib/icmp.py" "$@" || fail "lib/icmp.py $*: status $?"
}

is_default_router() { [[ -n $(ip_hub -6 route show default via "$1" proto ra) ]]; }

# A default route by way of peer 1, which AllowedIPs of nobody cover; then of peer 2.
advertisement()
{
	icmp 1 advertise fe80::1 fe80::fe wg0
	busywait is_default_router fe80::1 || fail "the advertisement is not believed"

	count_from_now
	check_send ENOKEY hub 2001:db8:9::1
	check_forge dropped p1 wg0 2001:db8:9::1 fd00::fe
	check_counters tx-drop-onlink=1 rx-drop-peer=1

	in_hub wg set hub peer "${KEY[2]}" allowed-ips "$(allowed_ips 2),2001:db8:9::/48"
	# The route that a peer advertised counts for nothing.
	check_source 2001:db8:9::1 rx-allowedips p2 fd00::fe
	count_from_now
	check_send p2 hub 2001:db8:9::1
	check_counters tx-onlink=1
	add_peer 2
	ip_hub -6 route flush proto ra
}

# A gateway that somebody set up is one, whatever its route's protocol says.
no_advertisement()
{
	check ip_hub route add default via fe80::2 dev hub proto ra
	count_from_now
	check_send p2 hub 2001:db8:9::1
	check_forge hub p2 wg0 2001:db8:9::1 fd00::fe
	check_counters tx-gateway=1 rx-gateway=1
	ip_hub -6 route flush proto ra
}

is_redirected() { [[ $(ip_hub route get "$1") == *"via $2 "* ]]; }

# redirect PREFIX GATEWAY ADDRESS HUB SRC TARGET: peer 2, which is the gateway, says that
# peer 3 would be a better one.
redirect()
{
	local prefix=$1 gateway=$2 addr=$3 hub_addr=$4 src=$5 target=$6

	check ip_hub route add "$prefix" via "$gateway" dev hub
	check_send p2 hub "$addr"
	icmp 2 redirect "$src" "$hub_addr" wg0 "$addr" "$target"
	busywait is_redirected "$addr" "$target" || fail "the redirect is not believed"

	count_from_now
	check_send p2 hub "$addr"
	check_forge hub p2 wg0 "$addr" "$hub_addr"
	check_forge dropped p3 wg0 "$addr" "$hub_addr"
	check_counters tx-gateway=1 rx-gateway=1 rx-drop-peer=1
}

is_redirected_for()
{
	[[ $(ip_hub route get "$2" uid "$1" ipproto udp sport 4700 dport 4747) == *"via $3 "* ]]
}

# Nor does it take a flow out of the table that a rule puts its user in.
redirect_of_user()
{
	check ip_hub rule add uidrange 4747-4747 table 100 pref 100 proto boot
	check ip_hub route add 10.1.0.0/16 via 10.0.0.2 dev hub table 100
	check ip_hub route add 10.1.0.0/16 via 10.0.0.3 dev hub
	packets open s hub 10.1.0.1 sport=4700 uid=4747
	packets again s
	check_eq "sent by the user" p2 "$REPLY"
	icmp 2 redirect 10.0.0.2 10.0.0.254 wg0 10.1.0.1 10.0.0.1 4700
	busywait is_redirected_for 4747 10.1.0.1 10.0.0.1 || fail "the redirect is not believed"
	count_from_now
	packets again s
	check_eq "sent by the user, after the redirect" p2 "$REPLY"
	check_counters tx-gateway=1
	check_send p3 hub 10.1.0.1
	packets close s
}

is_on_link() { [[ $(ip_hub route get "$1") != *" via "* ]]; }

# The same, but that the destination itself is on the link: AllowedIPs know nothing of it.
redirect_to_link()
{
	check ip_hub route add 2001:db8:9::/48 via fe80::2 dev hub
	icmp 2 redirect fe80::2 fe80::fe wg0 2001:db8:9::1 2001:db8:9::1
	busywait is_on_link 2001:db8:9::1 || fail "the redirect is not believed"
	count_from_now
	check_send p2 hub 2001:db8:9::1
	check_counters tx-gateway=1
}

# A key says more than a gateway.
redirect_of_key()
{
	check ip_hub route add 2001:db8:9::/48 via fe80::2 dev hub via-wgpeer "${KEY[1]}"
	icmp 2 redirect fe80::2 fe80::fe wg0 2001:db8:9::1 fe80::3
	busywait is_redirected 2001:db8:9::1 fe80::3 || fail "the redirect is not believed"
	count_from_now
	check_send p1 hub 2001:db8:9::1
	check_counters tx-wgpeer=1
}

test_add "IPv6: a router advertisement makes nobody the gateway" advertisement
test_add "IPv6: a gateway of user space's own advertisement handling is one" no_advertisement
test_add "IPv4: a redirect changes no peer" \
	redirect 10.1.0.0/16 10.0.0.2 10.1.0.1 10.0.0.254 10.0.0.2 10.0.0.3
test_add "IPv6: a redirect changes no peer" \
	redirect 2001:db8:9::/48 fe80::2 2001:db8:9::1 fd00::fe fe80::2 fe80::3
test_add "IPv4: a redirect changes no peer of a rule for users" redirect_of_user
test_add "IPv6: a redirect to the link changes no peer" redirect_to_link
test_add "IPv6: a redirect of a route with a key changes no peer" redirect_of_key

setup_hub 3
set_mode "$MODE"
tests_run
