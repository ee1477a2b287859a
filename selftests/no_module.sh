#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# With the module not available, route commands that need it say so and change
# nothing, and WireGuard does what it always did.

# shellcheck source=lib/lib.sh
source "$(dirname "$0")/lib/lib.sh"

# No module is found under the name, whoever asks for it.
HIDE=/run/modprobe.d/wgvia-selftest.conf

# The words of ip, then those of a kernel that has the type, or of one for which the module
# borrows one
NO_MODULE="Error: lwt encapsulation type not supported, no module is rtnl-lwt-WGPEER."
[[ -z $(modinfo -F parm wgvia) ]] || NO_MODULE="Error: Unknown lwt encapsulation type."
NO_MODULE=$NOT_LOADED$'\n'$NO_MODULE

hide_module()
{
	mkdir -p "${HIDE%/*}"
	echo "install wgvia /bin/false" >"$HIDE"
	[[ ! -d /sys/module/wgvia ]] || rmmod wgvia || bail_out "the module does not unload"
}

cleanup_file()
{
	rm -f "$HIDE"
}

# Nothing to reset but routes: there is no mode.
MODE=

add()
{
	local prefix=$1 before words

	before=$(ip_hub route show; ip_hub -6 route show)
	for words in add append replace; do
		check_fails "$NO_MODULE" ip_hub route "$words" "$prefix" dev hub via-wgpeer "${KEY[2]}"
	done
	check_fails "$NO_MODULE" ip_hub route add "$prefix" nexthop dev hub via-wgpeer "${KEY[2]}" \
		nexthop dev hub via-wgpeer "${KEY[3]}"
	check_eq "routes" "$before" "$(ip_hub route show; ip_hub -6 route show)"
}

replace()
{
	local prefix=$1 before

	check ip_hub route add "$prefix" dev hub
	before=$(ip_hub route show; ip_hub -6 route show)
	check_fails "$NO_MODULE" ip_hub route replace "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$NO_MODULE" ip_hub route change "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$NO_MODULE" ip_hub route del "$prefix" dev hub via-wgpeer "${KEY[2]}"
	check_fails "$NO_MODULE" ip_hub route del "$prefix" via-wgpeer "${KEY[2]}"
	check_eq "routes" "$before" "$(ip_hub route show; ip_hub -6 route show)"
}

nexthop_objects()
{
	local f before

	for f in 4 6; do
		check_fails "$NO_MODULE" ip_hub "-$f" nexthop add id 1 dev hub via-wgpeer "${KEY[2]}"
		check_eq "nexthop objects" "" "$(ip_hub nexthop show)"
		check ip_hub "-$f" nexthop add id 1 dev hub
		before=$(ip_hub nexthop show)
		check_fails "$NO_MODULE" ip_hub "-$f" nexthop replace id 1 dev hub via-wgpeer "${KEY[2]}"
		check_eq "nexthop objects" "$before" "$(ip_hub nexthop show)"
		check ip_hub nexthop del id 1
	done
}

tool()
{
	local out

	out=$(in_hub wgvia set hub mode on 2>&1) && fail "wgvia set succeeds"
	[[ $out == "wgvia: the wgvia kernel module is not loaded: "*"modprobe wgvia"* ]] ||
		fail "wgvia set says: $out"
	out=$(in_hub wgvia show 2>&1) && fail "wgvia show succeeds"
	[[ $out == "wgvia: the wgvia kernel module is not loaded: "*"modprobe wgvia"* ]] ||
		fail "wgvia show says: $out"
}

allowedips()
{
	check ip_hub route add 10.2.0.0/16 via 10.0.0.2 dev hub
	check ip_hub route add fd02::/48 via fd00::2 dev hub
	check_send p1 hub 10.2.0.1
	check_send p1 hub fd02::1
	check_send p2 hub 10.0.0.2
	check_forge hub p1 wg0 10.2.0.1 10.0.0.254
	check_forge dropped p2 wg0 10.2.0.1 10.0.0.254
	check ip_hub route add 198.51.100.0/24 dev hub
	check_send ENOKEY hub 198.51.100.1
}

# With the file back, everything works without a restart of anything.
available_again()
{
	rm -f "$HIDE"
	check ip_hub route add 10.2.0.0/16 dev hub via-wgpeer "${KEY[2]}"
	check_send p2 hub 10.2.0.1
}

test_add "IPv4: routes are refused" add 10.2.0.0/16
test_add "IPv6: routes are refused" add fd02::/48
test_add "IPv4: a route stays as it was" replace 10.2.0.0/16
test_add "IPv6: a route stays as it was" replace fd02::/48
test_add "nexthop objects are refused" nexthop_objects
test_add "the tool says what is missing" tool
test_add "AllowedIPs decide" allowedips
test_add "the module is available again" available_again

hide_module
setup_hub 3
tests_run
