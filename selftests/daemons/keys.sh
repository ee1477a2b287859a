#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A mesh from keys alone, as docs/recipes.md has it: the routers have keys and endpoints of
# their peers, addresses and AllowedIPs are those that `wgvia linklocal` derives from keys, and
# babeld does the rest, IPv4 by IPv6 next hops. Two routers have uplinks of their own, which the source
# chooses. Routers come, go and come back while it runs.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"

# Instead of mesh.sh's: no addresses
add_device()
{
	local ul=ul$1

	ip -n "${!ul}" link add "$3" type wireguard || bail_out "no WireGuard device"
	in_ns "${!ul}" wg set "$3" listen-port "$(port "$1" "$2")" private-key /dev/stdin <<<"${PRIVATE[$2]}"
	ip -n "${!ul}" link set "$3" netns "$(router "$1" "$2")"
	ip -n "$(router "$1" "$2")" link set "$3" up
}

# Instead of mesh.sh's: no AllowedIPs
add_end()
{
	in_router "$1" "$2" wg set wg0 peer "${KEY[$3]}" endpoint "127.0.0.1:$(port "$1" "$3" "$2")"
}

# Instead of mesh.sh's: those that the key has
addresses_of() { echo "$(wgvia addr "${KEY[$1]}")/128"; }

# recipe BLOCK [PIDFILE] N...: on these routers
recipe()
{
	local block=$1 file='' n
	shift

	[[ $1 == [0-9] ]] || { file=$1; shift; }
	for n in "$@"; do
		router_recipe k "$n" "$block" "$file"
	done
}

# left_by N COUNTER: packets for the internet that have left by router N's uplink
left_by()
{
	in_router k "$1" nft -j list counter ip6 uplink "$2" | jq '.nftables[] | .counter // empty | .packets'
}

# leaves_by N: what router 1 sends from uplink N's prefix
leaves_by()
{
	in_router k 1 ping -q -c 1 -W 1 -I "2001:db8:$1::1" 2001:db8:ffff::1 >/dev/null 2>&1
	(($(left_by "$1" own)))
}

# Routers 2 and 3 have an uplink each, and router 1 an address from each of them: the source chooses.
uplinks()
{
	local n

	for n in 2 3; do
		recipe mesh-uplink "$n"
		check in_router k 1 ip address add "2001:db8:$n::1/64" dev lan
		in_router k "$n" nft -f - <<-END || fail "no counters"
			table ip6 uplink {
				counter own { }
				counter foreign { }
				chain postrouting {
					type filter hook postrouting priority filter
					oifname != "lan" return
					ip6 daddr != 2001:db8:ffff::1 return
					ip6 saddr 2001:db8:$n::/48 counter name own return
					counter name foreign
				}
			}
		END
	done
	for n in 2 3; do
		busywait leaves_by "$n" || fail "nothing leaves by uplink $n that comes from its prefix"
	done
	for n in 2 3; do
		check_eq "packets by uplink $n that come from elsewhere" 0 "$(left_by "$n" foreign)"
	done
}

# neighbours_of N: what router N's babeld says of each of its neighbours, once it says all of it
neighbours_of()
{
	local log dump

	log=$(dir k "$1")/babeld.log
	: >"$log"
	# shellcheck disable=SC2086 # a word each
	kill -USR1 ${RUNNING[k$1]}
	dump='Neighbour fe80:[0-9a-f:]* dev wg0 reach ([0-9a-f]+) .* rxcost ([0-9]+) txcost ([0-9]+) .*'
	sleep 0.2
	sed -nE "s/^$dump/\1 \2 \3/p" "$log"
}

# are_neighbours COUNT N: so many hear router N and are heard by it
are_neighbours()
{
	NEIGHBOURS_HEARD=$(neighbours_of "$2" | awk '$2 < 65535 && $3 < 65535 { print $1 }')
	[[ $(wc -w <<<"$NEIGHBOURS_HEARD") == "$1" ]]
}

# come_back N: the router begins anew, and has no session with anybody
come_back()
{
	local heard start

	stop_daemons k "$1"
	ip -n "$(router k "$1")" link set wg0 down
	ip -n "$(router k "$1")" link set wg0 up
	recipe mesh "$1"
	recipe mesh-babeld babeld.pid "$1"
	start=${EPOCHREALTIME//[.,]/}
	busywait are_neighbours 2 "$1" || fail "neighbours of router $1: $(neighbours_of "$1")"
	# A bit for each hello, of which the last is the highest: none is missing from the first on.
	note "router $1 has its neighbours after $(((${EPOCHREALTIME//[.,]/} - start) / 1000)) ms," \
		"and had heard these hellos: ${NEIGHBOURS_HEARD//$'\n'/ }"
	for heard in $NEIGHBOURS_HEARD; do
		heard=$((16#$heard))
		heard=$((heard / (heard & -heard)))
		((heard & (heard + 1))) && fail "router $1 has missed hellos: $NEIGHBOURS_HEARD"
	done
}

keys()
{
	add_links k 1-2 2-3 3-4 1-3
	recipe mesh 1 2 3 4
	recipe mesh-babeld babeld.pid 1 2 3 4
	check_reach k "four routers: all reach all"

	uplinks

	add_links k 4-5 5-1
	recipe mesh 1 4 5
	recipe mesh-babeld babeld.pid 5
	check_reach k "one was added: all reach all"
	check_allowed_ips k

	come_back 4
	check_reach k "one has come back: all reach all"

	remove_router k 4
	check_reach k "one was removed: all others reach all"
	check_allowed_ips k
	[[ ${#DIAGNOSTICS[@]} -eq 0 ]] || logs k
}

mesh k one 5
test_add "a mesh from keys alone, with babeld" keys

tests_run
