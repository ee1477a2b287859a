# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests share: KTAP, the topology, and how to see where a packet went.
# Sourced; a test file then builds a topology, names its tests with test_add and
# ends with tests_run.
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

selftests=$(readlink -e "$(dirname "${BASH_SOURCE[0]}")/..")

# The folder of the Python packages lib and model
export PYTHONPATH=$selftests

KSFT_FAIL=1
KSFT_SKIP=4

# A kernel that checks all that it does is several times as slow.
SLOW=1
! zcat /proc/config.gz 2>/dev/null | grep -qx CONFIG_KASAN=y || SLOW=5

# How long to wait for what must come: far longer than it takes.
WAIT_TIMEOUT_MS=$((20000 * SLOW))

export LC_ALL=C
export WG_HIDE_KEYS=never

# --- KTAP ------------------------------------------------------------------

TEST_NAMES=()
TEST_CALLS=()

# test_add NAME FUNCTION [ARG]... With a regular expression in the environment's ONLY, the
# cases whose names it matches run and no others.
test_add()
{
	[[ $1 =~ ${ONLY:-} ]] || return 0
	TEST_NAMES+=("$1")
	shift
	TEST_CALLS+=("${*@Q}")
}

skip_all()
{
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit $KSFT_SKIP
}

bail_out()
{
	echo "Bail out! $*"
	exit $KSFT_FAIL
}

# Diagnostics of the running test; it fails if there are any when it returns.
DIAGNOSTICS=()

fail()
{
	local line

	while IFS= read -r line; do
		DIAGNOSTICS+=("$line")
	done <<<"$*"
}

tests_run()
{
	local failed=0 i line

	echo "TAP version 13"
	[[ ${#TEST_NAMES[@]} -gt 0 ]] || bail_out "no case matches ONLY"
	echo "1..${#TEST_NAMES[@]}"
	for i in "${!TEST_NAMES[@]}"; do
		DIAGNOSTICS=()
		eval "${TEST_CALLS[i]}"
		test_reset
		for line in "${DIAGNOSTICS[@]}"; do
			echo "# $line" | names
		done
		if [[ ${#DIAGNOSTICS[@]} -eq 0 ]]; then
			echo "ok $((i + 1)) ${TEST_NAMES[i]}"
		else
			echo "not ok $((i + 1)) ${TEST_NAMES[i]}"
			failed=$((failed + 1))
		fi
	done
	echo "# Totals: pass:$((${#TEST_NAMES[@]} - failed)) fail:$failed xfail:0 xpass:0 skip:0 error:0"
	exit $((failed ? KSFT_FAIL : 0))
}

# Between two tests: as after the setup. A test file may add to it.
test_reset()
{
	reset_hub
}

# --- waiting ---------------------------------------------------------------

# busywait COMMAND...: until it succeeds; fails when it has not in good time
busywait()
{
	local end=$((${EPOCHREALTIME//[.,]/} / 1000 + WAIT_TIMEOUT_MS))

	until "$@"; do
		[[ $((${EPOCHREALTIME//[.,]/} / 1000)) -lt $end ]] || return 1
	done
}

# --- checks ----------------------------------------------------------------

# check_eq WHAT EXPECTED GOT
check_eq()
{
	local indent=$'\n'"            "

	[[ $2 == "$3" ]] || fail "$1
  expected: ${2//$'\n'/$indent}
  got:      ${3//$'\n'/$indent}"
}

# check COMMAND...: succeeds, and says nothing
check()
{
	local out status

	out=$("$@" 2>&1 </dev/null)
	status=$?
	check_eq "exit status of: $*" 0 "$status"
	check_eq "output of: $*" "" "$out"
}

# check_warns TEXT COMMAND...: succeeds, and says this and nothing else
check_warns()
{
	local text=$1 out status
	shift

	out=$("$@" 2>&1 </dev/null)
	status=$?
	check_eq "exit status of: $*" 0 "$status"
	check_eq "warning of: $*" "Warning: $text." "$out"
}

# check_fails TEXT COMMAND...: fails, with these very words (and no others)
check_fails()
{
	local text=$1 out status
	shift

	out=$("$@" 2>&1 </dev/null)
	status=$?
	[[ $status -ne 0 ]] || fail "succeeded, and should have failed: $*"
	check_eq "error of: $*" "$text" "$out"
}

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

# Commands in the hub's namespace, and ip for it (which enters it by itself).
in_hub() { in_ns "$hub" "$@"; }
ip_hub() { ip -n "$hub" "$@"; }

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

# What a test file has to clean up beyond namespaces; it may redefine this.
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

# --- wgvia -----------------------------------------------------------------

# What the kernel says of routes, see check_warns and check_fails.
NO_PEER_YET="no peer has this key yet: packets get ENOKEY until it is added"
MODE_OFF="Error: wgvia is off on this device: wgvia set DEV mode auto turns it on."
NEEDS_DEVICE="Error: via-wgpeer needs a device."
NEEDS_WIREGUARD="Error: via-wgpeer needs a WireGuard device."
NO_MODULE="Error: lwt encapsulation type not supported, no module is rtnl-lwt-WGPEER."
# And of mode off
STILL_KEYED="routes name peers of this device: delete them first"

# A nexthop that is gone may be kept by a dst for a moment: mode off waits for that.
set_mode()
{
	local out

	if [[ $1 == off ]]; then
		busywait states_are 0 || fail "nexthops that name a peer stay: $(show .states)"
	fi
	out=$(in_hub wgvia set hub mode "$1" 2>&1) || fail "wgvia set hub mode $1: $out"
}

states_are() { [[ $(show .states) == "$1" ]]; }

# check_states COUNT: of the nexthops that name a peer of the hub's device
check_states()
{
	busywait states_are "$1" || check_show "nexthops that name a peer" .states "$1"
}

set_filter()
{
	local out

	out=$(in_hub wgvia set hub filter "$1" 2>&1) || fail "wgvia set hub filter $1: $out"
}

# show JQ_FILTER: of the hub's device
show()
{
	in_hub wgvia show -j hub | jq -rc ".[0] | $1"
}

# check_show WHAT JQ_FILTER EXPECTED
check_show()
{
	check_eq "$1" "$3" "$(show "$2" | names)"
}

# bindings: KEY=STATES of each, sorted
bindings() { show '.bindings[] | "\(.key)=\(.states)"' | names | sort | paste -sd ' '; }

bindings_are() { [[ $(bindings) == "$1" ]]; }

# check_bindings EXPECTED: KEY=STATES..., sorted, once none is kept by what will soon be freed
check_bindings()
{
	busywait bindings_are "$1" || check_eq "bindings" "$1" "$(bindings)"
}

# count_from_now: what check_counters compares with
count_from_now()
{
	COUNTED=$(in_hub wgvia show -j hub)
}

# check_counters NAME=COUNT...: these and no others have moved since
check_counters()
{
	local result

	# shellcheck disable=SC2016 # variables of jq
	result=$(in_hub wgvia show -j hub | jq -r --argjson before "$COUNTED" '
		$before[0].counters as $before
		| [.[0].counters | to_entries[] | select(.value != $before[.key])
		   | "\(.key | gsub("_"; "-"))=\(.value - $before[.key])"]
		| sort | join(" "), ($ARGS.positional | sort | join(" "))' --args "$@")
	check_eq "counters that have moved" "${result##*$'\n'}" "${result%$'\n'*}"
}

# routes FAMILY [SELECTOR]...: the hub's routes that a test has made, one a line
routes()
{
	local family=$1
	shift

	ip_hub "-$family" route show "$@" proto boot | names |
		sed -E 's/ +/ /g; s/ $//; s/ (proto boot|metric 1024|pref medium)//g'
}

# module_idle: nothing refers to the module any more
module_idle()
{
	[[ $(cat /sys/module/wgvia/refcnt) == 0 ]]
}

check_module_idle()
{
	busywait module_idle ||
		fail "the module is still referred to: $(cat /sys/module/wgvia/refcnt)"
}

# listens_to_groups PID: ip monitor has its socket
listens_to_groups()
{
	# shellcheck disable=SC2016 # fields of awk
	in_hub awk -v pid="$1" '$3 == pid && $4 != "00000000" { found = 1 } END { exit !found }' \
		/proc/net/netlink
}

# lines FILE COUNT: it has so many
lines() { [[ $(wc -l <"$1") -ge $2 ]]; }

# --- packets ---------------------------------------------------------------

PACKETS_PID=

# packets_start NAME=NETNS...: the namespaces that lib/packets.py watches
packets_start()
{
	coproc PACKETS { exec "$selftests/lib/packets.py" hub "hub=$hub" "$@"; }
	exec {packets_in}>&"${PACKETS[1]}" {packets_out}<&"${PACKETS[0]}"
	read -r -t $((60 * SLOW)) -u "$packets_out" || bail_out "lib/packets.py does not start"
}

# packets COMMAND...: see lib/packets.py; the answer is in $REPLY
packets()
{
	REPLY=
	echo "$*" >&"$packets_in"
	read -r -t $((60 * SLOW)) -u "$packets_out" || REPLY="lib/packets.py does not answer"
}

send() { packets send "$@"; }
forge() { packets forge "$@"; }

# check_send EXPECTED NAME DST [OPTION]...: where a datagram goes
check_send()
{
	local expected=$1
	shift

	send "$@"
	check_eq "datagram sent by ${1} to ${*:2}" "$expected" "$REPLY"
}

# check_forge EXPECTED NAME DEV SRC DST [FRAGMENT] [tos=N] [uid=N]: what becomes of a packet made by hand
check_forge()
{
	local expected=$1
	shift

	forge "$@"
	check_eq "packet sent by $1 through $2, from $3 to $4${5:+ (${*:5})}" "$expected" "$REPLY"
}

# check_raw EXPECTED NAME NEXTHOP SRC DST: what becomes of one that is to go by way of NEXTHOP
check_raw()
{
	local expected=$1
	shift

	packets raw "$@"
	check_eq "packet sent by $1 by way of $2, from $3 to $4" "$expected" "$REPLY"
}

# check_deliver EXPECTED NAME DEV SRC DST: what the hub's stack makes of a packet made by hand
check_deliver()
{
	local expected=$1
	shift

	packets deliver "$@"
	check_eq "packet sent by $1 through $2, from $3 to $4, behind the hub's stack" \
		"$expected" "$REPLY"
}

# check_source SOURCE COUNTER PEER[,PEER]...|none [DST [tos=N]]: what becomes of a packet from
# this address if each of three peers (p1, p2, p3) sends it. Those named may, and COUNTER
# moves; if none may, COUNTER says why. With "-" for COUNTER, wgvia says nothing.
check_source()
{
	local i expected accepted=0 moved dst=${4:-$hub_addr}

	count_from_now
	for i in 1 2 3; do
		expected=dropped
		[[ ,$3, != *,p$i,* ]] || expected=hub accepted=$((accepted + 1))
		check_forge "$expected" "p$i" wg0 "$1" "$dst" "${@:5}"
	done
	case $accepted in
	0) moved=("$2=3") ;;
	3) moved=("$2=3") ;;
	*) moved=("$2=$accepted" "rx-drop-peer=$((3 - accepted))") ;;
	esac
	[[ $2 != - ]] || moved=()
	check_counters "${moved[@]}"
}

# share NAME: the flows of the last "spread" that went there
share()
{
	local share

	share=$(grep -oE "\b$1=[0-9]+" <<<"$REPLY")
	echo "${share#*=}"
}

# check_three_to_one NAME DST: of 200 flows peer 2 gets three times as many as peer 3.
# Five standard deviations around 150 are 119 to 181.
check_three_to_one()
{
	count_from_now
	packets spread 200 "$@"
	if [[ $(share p2) -lt 119 || $(share p2) -gt 181 ]] ||
	   [[ $(($(share p2) + $(share p3))) != 200 ]]; then
		fail "200 flows at weights 3 and 1 go to: $REPLY"
	fi
	check_counters tx-wgpeer=200
}

# spread_over: all that the last "spread" went to
spread_over() { tr ' ' '\n' <<<"$REPLY" | sed 's/=.*//' | paste -sd ' '; }

# check_spread ADDR NAME...: of many flows from the hub each of these gets some, and no other
check_spread()
{
	packets spread 40 hub "$1"
	check_eq "peers that get packets for $1" "${*:2}" "$(spread_over)"
}

# distinct WORD...: each once, in order
distinct() { printf '%s\n' "$@" | sort -u | paste -sd ' '; }

# check_ping DST: the hub gets an answer
check_ping()
{
	local out

	out=$(in_hub ping -n -c 1 -W $((5 * SLOW)) "$@" 2>&1) || fail "ping $*: $out"
}

# echos NAME FAMILY: echo requests that have arrived in the namespace
echos()
{
	local counter=IcmpInEchos

	[[ $2 == 4 ]] || counter=Icmp6InEchos
	# shellcheck disable=SC2016 # fields of awk
	in_ns "${!1}" nstat -asz "$counter" | awk '!/^#/ { print $2 }'
}

# check_ping_from NAME SRC DST WHERE: it is answered, and was asked there
check_ping_from()
{
	local out before f=4

	[[ $3 != *:* ]] || f=6
	before=$(echos "$4" $f)
	out=$(in_ns "${!1}" ping -n -c 1 -W $((5 * SLOW)) -I "$2" "$3" 2>&1) ||
		fail "ping from $2 in $1 to $3: $out"
	check_eq "echo requests from $2 in $1 to $3 that reach $4" 1 $(($(echos "$4" $f) - before))
}

# sent_to PEER: bytes
sent_to()
{
	# shellcheck disable=SC2016 # fields of awk
	in_hub wg show hub transfer | awk -v k="${KEY[$1]}" '$1 == k { print $3 }'
}

has_sent_to() { [[ $(sent_to "$1") -gt $2 ]]; }

# nstat_of NAME...: the sum of these counters of the hub's network stack
nstat_of()
{
	in_hub nstat -asz "$@" | awk '!/^#/ { sum += $2 } END { print sum }'
}

# --- start -----------------------------------------------------------------

[[ $EUID -eq 0 ]] || skip_all "needs root"
for tool in wg wgvia jq python3; do
	command -v "$tool" >/dev/null || skip_all "needs $tool"
done
[[ $(ip route help 2>&1) == *via-wgpeer* ]] || skip_all "needs an ip with via-wgpeer"

TMP=$(mktemp -d)
NETNS_SUFFIX=wgvia-$$
trap cleanup EXIT
trap 'exit $KSFT_FAIL' INT TERM HUP
