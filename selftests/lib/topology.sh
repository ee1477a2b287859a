# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Namespaces, addresses and WireGuard devices. Sourced by lib.sh.
#
# The topology, as seen from the hub:
#
#                     +------- hub ----------------+
#   lan -- veth ------| lan        dev hub         |   10.0.0.254 fd00::fe fe80::fe
#                     |            dev ul          |   192.0.2.1
#                     +-------------|--------------+
#                                   ul                 192.0.2.2
#                      (the peers' WireGuard sockets)
#                      p1          p2          p3 ...  10.0.0.N fd00::N fe80::N
#
# Each peer N takes part with its device wg0 in the namespace pN. AllowedIPs of
# the hub's device give each peer its own addresses, and to peer 1 all of
# 10.0.0.0/8 and fd00::/8 besides: a packet that AllowedIPs decide about goes to
# peer 1, so a route that names another peer can be seen to work. 198.51.100.0/24
# and 2001:db8::/32 are nobody's.

# --- namespaces ------------------------------------------------------------

NETNS=()
hub='' ul='' lan=''

# add_ns NETNS: a test file may redefine this
add_ns() { ip netns add "$1"; }

# setup_ns NAME...: namespaces; the name of each is in $NAME
setup_ns()
{
	local name

	for name in "$@"; do
		printf -v "$name" '%s-%s' "$name" "$NETNS_SUFFIX"
		add_ns "${!name}" || bail_out "no namespace $name"
		NETNS+=("${!name}")
		ip -n "${!name}" link set lo up
	done
	# Nothing but the tests themselves may send. -e: for no_ipv6.sh
	for name in "$@"; do
		in_ns "${!name}" sysctl -eqw \
			net.ipv6.conf.default.router_solicitations=0 \
			net.ipv6.conf.default.accept_dad=0 \
			net.ipv4.conf.all.rp_filter=0 \
			net.ipv4.conf.default.rp_filter=0 \
			net.ipv4.icmp_ratelimit=0 \
			net.ipv6.icmp.ratelimit=0
	done
}

# in_ns NETNS COMMAND...: several times as fast as ip netns exec, which makes a
# mount namespace too (/sys remains the one outside). What is to go on in the
# background runs under nsenter itself, so that $! is the command.
in_ns()
{
	local ns=$1
	shift

	nsenter --net="/run/netns/$ns" "$@"
}

# Is the kernel one without the series? Then the module has this parameter.
STOCK=$(modinfo -F parm wgvia | grep -c ^encap_type:)

# Commands in the hub's namespace, and ip for it (which enters it by itself).
in_hub() { in_ns "$hub" "$@"; }
ip_hub()
{
	local words=$* keyed="nexthop dev hub via-wgpeer"

	# Without wgvia/0002 IPv6 wants a gateway in each nexthop of a multipath route. There one
	# stands beside each key, which decides all the same.
	if ((STOCK)) && [[ $words == *:*"$keyed"* ]]; then
		# shellcheck disable=SC2086 # words
		set -- ${words//"$keyed"/"nexthop via fd00::1 dev hub via-wgpeer"}
	fi
	ip -n "$hub" "$@"
}

# in_peer N COMMAND...
in_peer()
{
	local ns=p$1
	shift

	in_ns "${!ns}" "$@"
}

cleanup()
{
	local ns pids

	trap '' INT TERM HUP
	cleanup_file
	if [[ -n $PACKETS_PID ]]; then
		kill "$PACKETS_PID" 2>/dev/null
		wait "$PACKETS_PID" 2>/dev/null
	fi
	for ns in "${NETNS[@]}"; do
		pids=$(ip netns pids "$ns" 2>/dev/null)
		# shellcheck disable=SC2086 # one word for each process
		[[ -z $pids ]] || kill $pids 2>/dev/null
		ip netns del "$ns" 2>/dev/null
	done
	rm -rf "$TMP"
}

# Clean up what a test file has beyond namespaces; it may redefine this.
cleanup_file() { :; }

# --- addresses -------------------------------------------------------------

# family 4|6: the addresses of the tests, in variables
family()
{
	f=$1
	if [[ $f == 4 ]]; then
		hub_addr=10.0.0.254 peer1=10.0.0.1 peer2=10.0.0.2 peer3=10.0.0.3
		host2=10.0.0.2/32 host3=10.0.0.3/32
		# Every peer has the addresses of the site.
		site=10.1.0.0/16 site_addr=10.1.0.1
		# From the shortest to the longest, each with an address that is in no longer one
		all=10.0.0.0/8 all_addr=10.200.0.1
		short=10.0.0.0/9 short_addr=10.100.0.1
		wider=10.2.0.0/15
		prefix=10.2.0.0/16 addr=10.2.0.1
		longer=10.2.3.0/24 longer_addr=10.2.3.3
		longest=10.2.3.4/32 longest_addr=10.2.3.4
		# Beside these
		prefix2=10.3.0.0/16 addr2=10.3.0.1
		prefix3=10.4.0.0/16 addr3=10.4.0.1
		# In nobody's AllowedIPs
		foreign=198.51.100.0/24 nobodys=198.51.100.1
		lan_prefix=203.0.113.0/24 lan_addr=203.0.113.2 loopback=127.0.0.1
		# Bits of an address, bytes of a header, the error of the unreachable and what ping
		# makes of it
		bits=32 header=20 unreachable="icmp 3/1"
		ping_unreachable="Destination Host Unreachable" ping_exceeded="Time to live exceeded"
	else
		hub_addr=fd00::fe peer1=fd00::1 peer2=fd00::2 peer3=fd00::3
		host2=fd00::2/128 host3=fd00::3/128
		site=fd01::/48 site_addr=fd01::1
		all=fd00::/8 all_addr=fd99::1
		short=fd02::/16 short_addr=fd02:1::1
		wider=fd02::/47
		prefix=fd02::/48 addr=fd02::1
		longer=fd02:0:0:3::/64 longer_addr=fd02:0:0:3::3
		longest=fd02:0:0:3::4/128 longest_addr=fd02:0:0:3::4
		prefix2=fd03::/48 addr2=fd03::1
		prefix3=fd04::/48 addr3=fd04::1
		foreign=2001:db8:2::/48 nobodys=2001:db8:2::1
		lan_prefix=2001:db8:1::/64 lan_addr=2001:db8:1::2 loopback=::1
		bits=128 header=40 unreachable="icmp 1/3"
		ping_unreachable="Destination unreachable: Address unreachable"
		ping_exceeded="Time exceeded: Hop limit"
	fi
	gateway=$peer2
}

# url ADDRESS: as socat wants it
url() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; }

# --- WireGuard -------------------------------------------------------------

PRIVATE=()
KEY=()

# new_key N: a key pair, the public key in ${KEY[N]}
new_key()
{
	PRIVATE[$1]=$(wg genkey)
	KEY[$1]=$(wg pubkey <<<"${PRIVATE[$1]}")
}

# random_keys COUNT: public keys that nobody has the private keys of, a line each
random_keys()
{
	python3 -c '
import base64, os, sys
for _ in range(int(sys.argv[1])):
    print(base64.b64encode(os.urandom(32)).decode())' "$1"
}

# names: public keys as K1, K2, ... and base64 keys of nobody as they are
names()
{
	local script="" i

	for i in "${!KEY[@]}"; do
		script+="s|${KEY[i]}|K$i|g;"
	done
	sed "$script"
}

# The AllowedIPs of a peer of the hub
allowed_ips()
{
	local ips="10.0.0.$1/32,fd00::$1/128,fe80::$1/128"

	[[ $1 != 1 ]] || ips+=",10.0.0.0/8,fd00::/8"
	echo "$ips"
}

# add_peer N: give the hub's device the peer N (again)
add_peer()
{
	in_hub wg set hub peer "${KEY[$1]}" endpoint "192.0.2.2:$((51820 + $1))" \
		allowed-ips "$(allowed_ips "$1")"
}

remove_peer()
{
	in_hub wg set hub peer "${KEY[$1]}" remove
}

# The hub's WireGuard device as it is made; a test file may redefine this
new_hub_device() { ip_hub link add hub type wireguard || bail_out "no WireGuard device"; }

# add_hub_device: the hub's WireGuard device, with its addresses and all peers
add_hub_device()
{
	local i

	new_hub_device
	in_hub wg set hub listen-port 51820 private-key /dev/stdin <<<"${PRIVATE[0]}"
	for ((i = 1; i <= PEERS; i++)); do
		add_peer "$i"
	done
	ip_hub -batch - <<-END
		link set hub up
		address add 10.0.0.254/24 dev hub
		address add fd00::fe/64 dev hub
		address add fe80::fe/64 dev hub
	END
}

# link_lan NAME NET4 NET6: a link between a namespace and the hub, which forwards what comes
# from it. The hub is host 1 of these networks, the namespace host 2.
link_lan()
{
	ip_hub link add "$1" type veth peer name hub netns "${!1}"
	ip_hub -batch - <<-END
		link set $1 up
		address add $2.1/24 dev $1
		address add $3::1/64 dev $1
	END
	ip -n "${!1}" -batch - <<-END
		link set hub up
		address add $2.2/24 dev hub
		address add $3::2/64 dev hub
		route add default via $2.1
		route add ::/0 via $3::1
	END
	# Without making the hub an IPv6 router, which reports its groups on every device
	in_hub sysctl -qw net.ipv4.ip_forward=1 "net.ipv6.conf.$1.force_forwarding=1"
}

# setup_hub PEERS [NAME]...: the topology, with a session to every peer; further
# namespaces, of which lan gets its link to the hub
setup_hub()
{
	local i ns args=()

	PEERS=$1
	shift
	for ((i = 0; i <= PEERS; i++)); do
		new_key "$i"
	done

	setup_ns hub ul
	ip_hub link add ul type veth peer name hub netns "$ul"
	ip -n "$ul" -batch - <<-END
		link set hub up
		address add 192.0.2.2/24 dev hub
	END
	ip_hub -batch - <<-END
		link set ul up
		address add 192.0.2.1/24 dev ul
	END

	for ((i = 1; i <= PEERS; i++)); do
		setup_ns "p$i"
		ns=p$i
		args+=("p$i=${!ns}")
		ip -n "$ul" link add "wg$i" type wireguard || bail_out "no WireGuard device"
		in_ns "$ul" wg set "wg$i" listen-port $((51820 + i)) \
			private-key /dev/stdin peer "${KEY[0]}" endpoint 192.0.2.1:51820 \
			allowed-ips 0.0.0.0/0,::/0 <<<"${PRIVATE[i]}"
		ip -n "$ul" link set "wg$i" netns "${!ns}" name wg0
		# Every peer takes what is for the test prefixes, and answers.
		ip -n "${!ns}" -batch - <<-END
			link set wg0 up
			address add 10.0.0.$i/24 dev wg0
			address add fd00::$i/64 dev wg0
			address add fe80::$i/64 dev wg0
			route add default dev wg0
			route add local 10.1.0.0/16 dev lo
			route add ::/0 dev wg0
			route add local fd01::/32 dev lo
		END
	done
	add_hub_device

	for ns in "$@"; do
		setup_ns "$ns"
		args+=("$ns=${!ns}")
	done
	[[ -z ${lan:-} ]] || link_lan lan 203.0.113 2001:db8:1

	packets_start "${args[@]}"
	# shellcheck disable=SC2119 # none of its options
	warm_up
	[[ ${#DIAGNOSTICS[@]} -eq 0 ]] || bail_out "no session: ${DIAGNOSTICS[*]}"
}

# warm_up [OPTION]...: a session with every peer, begun by the hub
# shellcheck disable=SC2120 # vrf.sh has an option
warm_up()
{
	local i

	for ((i = 1; i <= PEERS; i++)); do
		check_send "p$i" hub "10.0.0.$i" "$@"
	done
}

# flush_rules: no rules of a test, which have proto boot
flush_rules()
{
	ip_hub rule flush proto boot
	ip_hub -6 rule flush proto boot
}

# rule WORD...: ip rule of the family, for flush_rules
rule() { ip_hub "-$f" rule "$@" proto boot; }

# reset_hub: no routes, nexthops or rules of a test, and the mode that the file wants
reset_hub()
{
	# Routes of nexthop objects go with these: ip can not flush them.
	ip_hub -batch - >/dev/null <<-END
		nexthop flush
		route flush table all proto boot
	END
	[[ -z ${MODE:-} ]] || set_mode "$MODE"
}

# add_other: a device "other" of the hub, until del_other or the end of the test
add_other()
{
	check ip_hub link add other type dummy
	check ip_hub link set other up
	touch "$TMP/other"
}

del_other()
{
	check ip_hub link del other
	rm "$TMP/other"
}

# reset_sources FILTER: test_reset of the files about a source filter
reset_sources()
{
	reset_hub
	flush_rules
	set_filter "$1"
	[[ ! -e $TMP/other ]] || del_other
}
