#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Link-local addresses from keys: wgvia addr and wgvia linklocal.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

DENIED="permission denied: CAP_NET_ADMIN in the user namespace that owns the network namespace is needed, try as root"

# Two keys with one address, found by a search
TWINS=(i5Vvhq7PJycAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= xQ516DMFqAsAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=)

# address N: of the key of peer N, of the hub with 0
address() { wgvia addr "${KEY[$1]}"; }

# setup_of_hub: all that wg sets for the hub's device, each AllowedIP with its peer, and the
# addresses, in an order that stays
setup_of_hub()
{
	in_hub wg show hub dump | cut -f 1-3,8 | names | sort
	in_hub wg show hub allowed-ips | tr '[:blank:]' '[\n*]' | names | awk '
		/=$|^K[0-9]+$/ { peer = $0; next }
		!/none/ { print peer, $0 }' | sort
	ip_hub -br -6 address show dev hub | tr -s ' ' '\n' | sort
}

# check_added BEFORE LINE...: these lines and no others are new, none is gone
check_added()
{
	local before=$1
	shift

	check_eq "what is new" "$(printf '+%s\n' "$@" | sort)" \
		"$(diff <(echo "$before") <(setup_of_hub) | sed -n 's/^>[ ]/+/p; s/^</-/p' | sort)"
}

derivation()
{
	check_eq "address of a key" fe80::66cb:4991:f495:62ef \
		"$(wgvia addr SAyMLIWTO+DSnTx/JDak+lRR5huci8m4JsEabkkIxFY=)"
	check_eq "address of another key" fe80::93fc:7799:3002:eeba \
		"$(wgvia addr Hxm0/KTFRGFirpOoTWO2iMde/gJX+oVswUXEzVN5En8=)"
	check_eq "address of a device" "$(address 0)" "$(in_hub wgvia addr hub)"
	check_eq "as JSON" "[{\"key\":\"${KEY[0]}\",\"address\":\"$(address 0)\"}]" \
		"$(in_hub wgvia -j addr hub)"
	check_fails "wgvia: 'no key and no device' is not a key: 44 characters of base64" \
		wgvia addr "no key and no device"
}

adds()
{
	local before

	before=$(setup_of_hub)
	check in_hub wgvia linklocal hub
	check_added "$before" "$(address 0)/64" "K1 $(address 1)/128" "K2 $(address 2)/128"

	before=$(setup_of_hub)
	check in_hub wgvia linklocal hub
	check_eq "all of it after a second time" "$before" "$(setup_of_hub)"

	new_key 9
	check in_hub wg set hub peer "${KEY[9]}"
	before=$(setup_of_hub)
	check in_hub wgvia linklocal hub
	check_added "$before" "K9 $(address 9)/128"
}

traffic()
{
	local i

	check in_hub wgvia linklocal hub
	for i in 1 2; do
		check in_peer "$i" wgvia linklocal wg0
		check_ping_from hub "$(address 0)%hub" "$(address "$i")%hub" "p$i"
	done
}

# cunicu adds the prefix of a route by such an address to the peer's AllowedIPs.
routes()
{
	local before

	check in_hub wgvia linklocal hub
	before=$(in_hub wg show hub allowed-ips)
	set_mode on
	warm_up
	for f in 4 6; do
		family $f
		check ip_hub route add "$prefix" via inet6 "$(address 2)" dev hub
		check_send p2 hub "$addr"
		check_forge hub p2 wg0 "$addr" "$hub_addr"
		check_forge dropped p1 wg0 "$addr" "$hub_addr"
	done
	check_eq "AllowedIPs" "$before" "$(in_hub wg show hub allowed-ips)"
}

same_address()
{
	local before

	check in_hub wg set hub peer "${TWINS[0]}" peer "${TWINS[1]}"
	before=$(setup_of_hub)
	check_fails "wgvia: hub: the keys ${TWINS[0]} and ${TWINS[1]} have the same address fe80::7be2:7ff7:bfb0:58c2: give one of the two a new key" \
		in_hub wgvia linklocal hub
	check_eq "all of it" "$before" "$(setup_of_hub)"
}

held_by_another()
{
	local before i

	for i in 0 1; do
		check in_hub wg set hub peer "${KEY[2]}" \
			allowed-ips "$(allowed_ips 2),$(address "$i")/128"
		before=$(setup_of_hub)
		check_fails "wgvia: hub: $(address "$i") is the address of ${KEY[i]} and in the AllowedIPs of ${KEY[2]}: remove it there" \
			in_hub wgvia linklocal hub
		check_eq "all of it" "$before" "$(setup_of_hub)"
	done
	# A prefix is no host entry, and takes nothing from anybody.
	check in_hub wg set hub peer "${KEY[2]}" allowed-ips "$(allowed_ips 2),fe80::/64"
	before=$(setup_of_hub)
	check in_hub wgvia linklocal hub
	check_added "$before" "$(address 0)/64" "K1 $(address 1)/128" "K2 $(address 2)/128"
}

# has_address N: does peer N, or the hub with 0, have its own?
has_address()
{
	case $1 in
	0) ip_hub -br -6 address show dev hub ;;
	*) in_hub wg show hub allowed-ips | grep -F "${KEY[$1]}" ;;
	esac | grep -qF "$(address "$1")/"
}

follow()
{
	local pid peer

	remove_peer 2
	in_hub wgvia linklocal --follow hub &
	pid=$!
	for peer in 0 1; do
		busywait has_address "$peer" || fail "no address of $peer at the start"
	done
	add_peer 2
	busywait has_address 2 || fail "no address of a peer that was added"
	check in_hub wg set hub peer "${KEY[1]}" allowed-ips "$(allowed_ips 1)"
	busywait has_address 1 || fail "no address of a peer that lost it"
	check ip_hub link del hub
	check wait "$pid"
	add_hub_device
}

# More than one request holds
many()
{
	local added

	check in_hub wg addconf hub <(python3 -c '
import base64
for i in range(600):
    print("[Peer]\nPublicKey =", base64.b64encode(b"%032d" % i).decode())')
	check in_hub wgvia linklocal hub
	added=$(in_hub wg show hub allowed-ips | grep -cE '\sfe80:[0-9a-f:]+/128$')
	check_eq "peers with an address" $((600 + PEERS)) "$added"
}

refused()
{
	local before

	check ip_hub link add hub2 type wireguard
	check_fails "wgvia: hub2: the device has no key: give it one with wg set hub2 private-key FILE" \
		in_hub wgvia linklocal hub2
	check ip_hub link del hub2
	check_fails "wgvia: none: no such device (list WireGuard devices with: ip link show type wireguard)" \
		in_hub wgvia linklocal none
	check_fails "wgvia: ul: not a WireGuard device (list WireGuard devices with: ip link show type wireguard)" \
		in_hub wgvia linklocal ul

	before=$(setup_of_hub)
	check_fails "wgvia: hub: $DENIED" in_hub setpriv --reuid 65534 --regid 65534 --clear-groups \
		wgvia linklocal hub
	check_eq "all of it" "$before" "$(setup_of_hub)"
	check in_hub sysctl -qw net.ipv6.conf.hub.disable_ipv6=1
	before=$(setup_of_hub)
	check_fails "wgvia: hub: ipv6: IPv6 is disabled on this device" in_hub wgvia linklocal hub
	check_eq "all of it without IPv6" "$before" "$(setup_of_hub)"
}

test_reset()
{
	ip_hub link del hub
	add_hub_device
	reset_hub
}

test_add "addresses as cunicu derives them" derivation
test_add "additions, and nothing else" adds
test_add "packets between these addresses" traffic
test_add "routes by these addresses, without a copy in AllowedIPs" routes
test_add "two keys with one address" same_address
test_add "an address in the AllowedIPs of another peer" held_by_another
test_add "a device that is followed" follow
test_add "hundreds of peers" many
test_add "errors change nothing" refused

setup_hub 2
tests_run
