#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# On a kernel without the series, ip with via-wgpeer adds and deletes nothing: such a
# kernel skips RTA_WGPEER, and would make the route without its peer.

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"

# No module, no mode.
MODE=

UNKNOWN=$NOT_LOADED$'\n'"Error: Unknown lwt encapsulation type."
# Without keys they are.
DEVICE_ONLY=$NOT_LOADED$'\n'"Error: Device only routes can not be added for IPv6 using the multipath API."

all_routes() { ip_hub route show table all; ip_hub -6 route show table all; ip_hub nexthop show; }

# refused PREFIX FAMILY: in each form, and a route to it stays as it was
refused()
{
	local prefix=$1 words error via=(dev dummy via-wgpeer "${KEY[1]}") before

	check ip_hub route add "$prefix" dev dummy
	before=$(all_routes)
	for words in add append replace change del; do
		error=$UNKNOWN
		check_fails "$UNKNOWN" ip_hub route "$words" "$prefix" "${via[@]}"
		[[ $words == del || $2 == 4 ]] || error=$DEVICE_ONLY
		check_fails "$error" ip_hub route "$words" "$prefix" \
			nexthop "${via[@]}" nexthop dev dummy via-wgpeer "${KEY[2]}"
	done
	check_eq "routes" "$before" "$(all_routes)"
}

nexthop_refused()
{
	local before

	before=$(all_routes)
	check_fails "$UNKNOWN" ip_hub "$1" nexthop add id 1 dev dummy via-wgpeer "${KEY[1]}"
	check_eq "nexthops" "$before" "$(all_routes)"
}

test_add "IPv4: routes" refused 10.2.0.0/16 4
test_add "IPv6: routes" refused fd02::/48 6
test_add "IPv4: nexthop objects" nexthop_refused -4
test_add "IPv6: nexthop objects" nexthop_refused -6

new_key 1
new_key 2
setup_ns hub
ip_hub link add dummy type dummy
ip_hub link set dummy up
tests_run
