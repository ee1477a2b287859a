#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Daemons that see keyed routes which are not theirs: BIRD with `learn` and a second
# kernel table, and FRR when it starts, dies and starts again.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"


# copied FAMILY PREFIX: into table 100
copied() { [[ -n $(ip -n "$l1" "-$1" route show "$2" table 100) ]]; }

add_routes()
{
	ip -n "$l1" -batch - <<-END || fail "cannot add routes"
		route add 10.64.0.0/16 dev wg0 via-wgpeer ${KEY[2]}
		route add 10.65.0.0/16 dev wg0 via-wgpeer ${KEY[2]} proto static
		route add fd64::/32 dev wg0 via-wgpeer ${KEY[2]}
		route add 10.66.0.0/16 via 10.0.0.2 dev wg0
		route add fd66::/32 via fd00::2 dev wg0
	END
}

# keyed_routes: of both families
keyed_routes() { ip -n "$l1" route show; ip -n "$l1" -6 route show; }

learn()
{
	local before f

	add_routes
	before=$(keyed_routes | grep -F via-wgpeer)
	check_eq "keyed routes" 3 "$(wc -l <<<"$before")"
	run_bird
	# It has learned what is there, and written on what it understands.
	busywait copied 4 10.66.0.0/16 || fail "BIRD does not copy the IPv4 route with a gateway"
	busywait copied 6 fd66::/32 || fail "BIRD does not copy the IPv6 route with a gateway"
	check_eq "keyed routes beside BIRD" "$before" "$(keyed_routes | grep -F via-wgpeer)"
	for f in 4 6; do
		check_eq "IPv$f prefixes of keyed routes in the second table" "" \
			"$(ip -n "$l1" "-$f" route show table 100 | grep -E '^(10\.6[45]|fd64)')"
	done
}

run_bird()
{
	local file

	file=$(dir l 1)/bird.conf
	cat >"$file" <<-END
		log stderr all;
		router id 10.0.0.1;
		protocol device { }
		ipv4 table second4;
		ipv6 table second6;
		protocol kernel { learn; scan time 2; ipv4 { import all; export none; }; }
		protocol kernel { learn; scan time 2; ipv6 { import all; export none; }; }
		protocol kernel { kernel table 100; ipv4 { table second4; import none; export all; }; }
		protocol kernel { kernel table 100; ipv6 { table second6; import none; export all; }; }
		protocol pipe { table master4; peer table second4; import none; export all; }
		protocol pipe { table master6; peer table second6; import none; export all; }
	END
	run_daemon l 1 bird -f -c "$file" -s "$file.ctl" -P "$file.pid"
}

zebra_knows()
{
	in_router l 1 vtysh --vty_socket "$(dir l 1)" -c "show ip route" 2>/dev/null | grep -qF 10.66.0.0/16
}

frr_restarts()
{
	local before round

	add_routes
	before=$(keyed_routes | grep -F via-wgpeer)
	for round in starts "starts again"; do
		frr l 1 ""
		busywait zebra_knows || fail "zebra has not read the routes"
		check_eq "keyed routes when FRR $round" "$before" "$(keyed_routes | grep -F via-wgpeer)"
		stop_daemons l 1
		check_eq "keyed routes when FRR has gone" "$before" "$(keyed_routes | grep -F via-wgpeer)"
	done
}

test_reset()
{
	local f

	[[ ${#DIAGNOSTICS[@]} -eq 0 ]] || logs l
	stop_daemons l 1
	for f in 4 6; do
		printf 'route flush table %s\n' "main proto boot" "main proto static" "100" |
			ip -n "$l1" "-$f" -force -batch - >/dev/null 2>&1
	done
}

mesh l one 2
add_links l 1-2
test_add "BIRD with learn and a second kernel table" learn
test_add "FRR starts, dies and starts again" frr_restarts

tests_run
