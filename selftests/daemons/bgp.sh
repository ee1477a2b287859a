#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# eBGP by BIRD (odd routers) and FRR (even ones), which also means nexthop objects: five
# routers, each an AS of its own, a ring with a chord. All of it is unicast. Sessions between
# link-local addresses are BIRD's alone: FRR 10.3 calls the next hops of routes unreachable,
# unless chance has it take them for the session's (docs/recipes.md).
#
# FRR waits for BIRD to connect. When both do, at the same intervals, each may close the connection
# that the other keeps, for minutes, on any kind of link.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"

# config_bird LETTER N: sessions between tunnel addresses
config_bird()
{
	local m

	for m in $(neighbours "$1" "$2"); do
		cat <<-END
			protocol bgp from ebgp {
				local 10.0.0.$2 as 6500$2; neighbor 10.0.0.$m as 6500$m;
				ipv4 { import all; export all; next hop self; };
			}
			protocol bgp from ebgp {
				local fd00::$2 as 6500$2; neighbor fd00::$m as 6500$m;
				ipv6 { import all; export all; next hop self; };
			}
		END
	done
}

# prefer_global LETTER NEIGHBOUR: of the two next hops that an IPv6 route has. With one address
# on many devices FRR looks for the link-local one on the wrong device.
prefer_global() { [[ ${FORM[$1]} == one ]] || echo "neighbor $2 route-map global in"; }

# config_frr LETTER N
config_frr()
{
	local m

	for m in $(neighbours "$1" "$2"); do
		cat <<-END
			 neighbor 10.0.0.$m remote-as 6500$m
			 neighbor 10.0.0.$m passive
			 neighbor fd00::$m remote-as 6500$m
			 neighbor fd00::$m passive
			 address-family ipv4 unicast
			  no neighbor fd00::$m activate
			  neighbor 10.0.0.$m next-hop-self
			 exit-address-family
			 address-family ipv6 unicast
			  neighbor fd00::$m activate
			  neighbor fd00::$m next-hop-self
			  $(prefer_global "$1" "fd00::$m")
			 exit-address-family
		END
	done
}

EBGP="template bgp ebgp {
	direct; graceful restart off; hold time 15; connect delay time 1; connect retry time 3; error wait time 1, 3;
}"

start_bird() { bird "$1" "$2" "$EBGP $(config_bird "$1" "$2")"; }

# recipe BLOCK N: of docs/recipes.md
recipe() { router_recipe o "$2" "$1" bird.pid; }

start_recipe()
{
	recipe dn42 "$2"
}

start_frr()
{
	frr "$1" "$2" "router bgp 6500$2
		 bgp router-id 10.0.0.$2
		 no bgp ebgp-requires-policy
		 bgp graceful-restart-disable
		 timers bgp 5 15
		$(config_frr "$1" "$2")
		 address-family ipv4 unicast
		  network 10.1.$2.0/24
		 exit-address-family
		 address-family ipv6 unicast
		  network fd01:$2::/64
		 exit-address-family
		route-map global permit 10
		 set ipv6 next-hop prefer-global" bgpd
}

start_mixed() { if (($2 % 2)); then start_bird "$@"; else start_frr "$@"; fi; }

# bgp MESHES FILTER START N: router N is one that is removed and added
bgp()
{
	local MESHES=$1

	wgvia_set o filter "$2"
	go_through "$3" || return
	replace_router o "$4" "$3"
	check_allowed_ips o
}

test_reset() { reset_pair; }

mesh_pair
wgvia_set o mode on
test_add "eBGP by BIRD and FRR on one device, filter loose, and on a device for each peer" bgp "o m" loose mixed 4
# All ways are symmetric: of two that are as long BIRD takes the one by the router with the lowest id.
test_add "eBGP between link-local addresses, by BIRD as the recipe for dn42 has it" bgp o device recipe 5

tests_run
