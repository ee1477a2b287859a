#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# OSPF by BIRD over one WireGuard device in each router, with configured neighbours: its
# packets are unicast. The neighbours' own addresses are learned as host routes too, through
# third routers when a link fails; when it heals, the neighbour has to be heard all the same.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"

# Four routers in a ring with a chord
FOUR="1-2 2-3 3-4 4-1 1-3"

# ospf_instance LETTER N VERSION FAMILY PREFIX: neighbours are PREFIXM
ospf_instance()
{
	local m type="type ptp"

	if [[ ${FORM[$1]} == one ]]; then
		type="type ptmp; neighbors {$(for m in $(neighbours "$1" "$2"); do echo " $5$m;"; done) }"
	fi
	cat <<-END
		protocol ospf $3 {
			$4 { import all; export none; };
			area 0 {
				interface "lan" { stub; };
				interface "wg*" { $type; hello 2; retransmit 2; dead count 4; wait 4; };
			};
		}
	END
}

start_all()
{
	local n

	for n in ${MEMBERS[$1]}; do
		bird "$1" "$n" "$(ospf_instance "$1" "$n" v2 ipv4 10.0.0.
			ospf_instance "$1" "$n" v3 ipv6 fe80::)"
	done
}

# ospf LETTER
ospf()
{
	start_all "$1"
	check_direct "$1" "the direct ways are used"
	cut "$1" 1-3 3-4
	check_reach "$1" "all reach all after two links were cut"
	heal "$1"
	check_direct "$1" "the direct ways are used again after they healed"
}

# ospf_one FILTER
ospf_one()
{
	wgvia_set o filter "$1"
	ospf o
	check_allowed_ips o
}

test_reset()
{
	local l

	for l in "${!FORM[@]}"; do
		[[ ${#DIAGNOSTICS[@]} -eq 0 ]] || logs "$l"
		heal "$l"
		stop_daemons "$l" 1 2 3 4
	done
}

mesh o one 4
mesh m many 4
# shellcheck disable=SC2086 # a word each
{
	add_links o $FOUR
	add_links m $FOUR
}
wgvia_set o mode on
test_add "OSPF, a device for each peer" ospf m
for filter in ${FILTERS:-device loose}; do
	test_add "OSPF with configured neighbours, filter $filter" ospf_one "$filter"
done

tests_run
