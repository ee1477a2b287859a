#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# OSPFv2 and v3 over one WireGuard device in each router: by BIRD with configured neighbours,
# whose packets are unicast; by FRR, and by BIRD in a full mesh, which find them by multicast. The
# neighbours' own addresses are learned as host routes too, through third routers when a link
# fails; when it heals, the neighbour has to be heard all the same.

# shellcheck source=mesh.sh
source "$(dirname "$0")/mesh.sh"

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

start_bird()
{
	bird "$1" "$2" "$(ospf_instance "$1" "$2" v2 ipv4 10.0.0.
		ospf_instance "$1" "$2" v3 ipv6 fe80::)"
}

# A designated router, which all others have to hear
start_broadcast()
{
	local area='area 0 {
		interface "lan" { stub; };
		interface "wg0" { type broadcast; hello 2; retransmit 2; dead count 4; wait 4; };
	};'

	bird "$1" "$2" "protocol ospf v2 { ipv4 { import all; export none; }; $area }
		protocol ospf v3 { ipv6 { import all; export none; }; $area }"
}

start_frr()
{
	frr "$1" "$2" "interface lan
		 ip ospf area 0
		 ip ospf passive
		 ipv6 ospf6 area 0
		 ipv6 ospf6 passive
		interface wg0
		 ip ospf area 0
		 ip ospf network point-to-multipoint
		 ip ospf hello-interval 2
		 ip ospf dead-interval 8
		 ipv6 ospf6 area 0
		 ipv6 ospf6 network point-to-multipoint
		 ipv6 ospf6 hello-interval 2
		 ipv6 ospf6 dead-interval 8
		router ospf
		 ospf router-id 10.0.0.$2
		router ospf6
		 ospf6 router-id 10.0.0.$2" ospfd ospf6d
}

# recipe BLOCK N: of docs/recipes.md
recipe() { router_recipe o "$2" "$1" bird.pid; }

start_recipe()
{
	recipe ospf "$2"
}

# ospf MESHES DAEMON FILTER
ospf()
{
	local MESHES=$1

	wgvia_set o filter "$3"
	[[ $2 != frr ]] || wgvia_set o multicast on
	go_through "$2" || return
	[[ $MESHES != o ]] || replace_router o 4 "$2"
	check_allowed_ips o
}

# Where each is a peer of each other, the device is like a LAN.
full_mesh()
{
	wgvia_set o filter loose multicast on
	add_links o 1-4 2-4 2-5 3-5
	start_all o broadcast
	check_direct o "the direct ways are used" || logs o
	check_allowed_ips o
}

test_reset()
{
	reset_pair
	wgvia_set o multicast off
}

mesh_pair
wgvia_set o mode on
test_add "OSPF by BIRD with configured neighbours, filter device, and on a device for each peer" ospf "o m" bird device
test_add "OSPF by BIRD as the recipe has it, filter loose" ospf o recipe loose
test_add "OSPF by FRR with multicast hellos, filter loose" ospf o frr loose
# The last: the links stay.
test_add "OSPF by BIRD as on a LAN, in a full mesh" full_mesh

tests_run
