# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Routers in network namespaces, with WireGuard between them, for tests with real
# routing daemons. Sourced; it sources lib/lib.sh.
#
# A mesh has a letter and a form, and there may be several at once. Its router N is the
# namespace ${LETTER}N with
#
#   lan        a dummy with 10.1.N.1/24 and fd01:N::1/64: what is announced
#   wg0        form one: ONE device, which has a peer for each link of the router
#   wgM        form many: a device for each link, the other end of which is router M
#
# with 10.0.0.N, fd00::N and fe80::N on all of them. The form many is how people do it
# without wgvia: the yardstick. The sockets of all devices are on the loopback device of
# one more namespace, the underlay, where nftables cuts links and heals them.

# shellcheck source=../lib/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/lib.sh"

# shellcheck source=../lib/recipes.sh
source "$selftests/lib/recipes.sh"

daemons=$selftests/daemons

# A ring with a chord
RING="1-2 2-3 3-4 4-5 5-1 1-3"

declare -A FORM=()	# LETTER: one or many
declare -A LINKS=()	# LETTER: those that there are, cut or not
declare -A MEMBERS=()	# LETTER: routers that have links
declare -A PROBE_IN=() PROBE_OUT=()
UNDERLAYS=()

# --- routers and links -----------------------------------------------------

# router LETTER N: its namespace
router() { local name=$1$2; echo "${!name}"; }

# in_router LETTER N COMMAND...
in_router() { in_ns "$(router "$1" "$2")" "${@:3}"; }

# dir LETTER N: a folder for the router's files, which daemons may write
dir() { echo "$TMP/$1$2"; }

# device LETTER A B: router A's, on which router B is a peer
device() { if [[ ${FORM[$1]} == one ]]; then echo wg0; else echo "wg$3"; fi; }

# devices LETTER N: all of the router's
devices()
{
	local m

	if [[ ${FORM[$1]} == one ]]; then
		echo wg0
	else
		for m in $(neighbours "$1" "$2"); do echo "wg$m"; done
	fi
}

# port LETTER A B: of router A's device on which router B is a peer
port() { if [[ ${FORM[$1]} == one ]]; then echo $((51800 + $2)); else echo $((52000 + 100 * $2 + $3)); fi; }

# neighbours LETTER N: the other ends of the router's links
neighbours()
{
	tr ' ' '\n' <<<"${LINKS[$1]}" | sed -nE "s/^$2-([0-9]+)\$/\1/p; s/^([0-9]+)-$2\$/\1/p" | sort -n
}

# addresses_of N: the neighbour addresses of router N on one device
addresses_of() { echo "10.0.0.$1/32,fd00::$1/128,fe80::$1/128"; }

# mesh LETTER FORM COUNT: routers without links
mesh()
{
	local letter=$1 ul=ul$1 n names=() args=()

	FORM[$letter]=$2 LINKS[$letter]='' MEMBERS[$letter]=''
	setup_ns "$ul"
	UNDERLAYS+=("$ul")
	in_ns "${!ul}" nft -f - <<-END || bail_out "no rules in the underlay"
		table inet links {
			set cut { type inet_service . inet_service; }
			chain input {
				type filter hook input priority filter;
				udp sport . udp dport @cut drop
			}
		}
	END
	for ((n = 1; n <= $3; n++)); do
		names+=("$letter$n")
	done
	setup_ns "${names[@]}"
	chmod 711 "$TMP"
	for ((n = 1; n <= $3; n++)); do
		[[ -n ${KEY[n]:-} ]] || new_key "$n"
		install -d -o frr -g frr "$(dir "$letter" "$n")"
		in_router "$letter" "$n" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
			net.ipv4.conf.all.accept_redirects=0 net.ipv6.conf.default.accept_redirects=0
		ip -n "$(router "$letter" "$n")" -batch - <<-END || bail_out "no LAN"
			link add lan type dummy
			link set lan up
			address add 10.1.$n.1/24 dev lan
			address add fd01:$n::1/64 dev lan
		END
		[[ $2 == many ]] || add_device "$letter" "$n" wg0
		args+=("$n=$(router "$letter" "$n")=10.1.$n.1=fd01:$n::1")
	done
	probe_start "$letter" "${args[@]}"
}

# mesh_pair: five routers in a ring with a chord, as mesh o on one device and as mesh m on a device
# for each peer
# shellcheck disable=SC2086 # a word each
mesh_pair()
{
	mesh o one 5
	mesh m many 5
	add_links o $RING
	add_links m $RING
}

# reset_pair: as mesh_pair left them
reset_pair()
{
	local l

	for l in o m; do
		heal "$l"
		stop_daemons "$l" 1 2 3 4 5
	done
}

# add_device LETTER N DEVICE [M]: with the addresses of a link to router M, if there is one
add_device()
{
	local ul=ul$1 ns address=10.0.0.$2/24 address6=fd00::$2/64

	[[ -z ${4:-} ]] || address="10.0.0.$2 peer 10.0.0.$4/32" address6="fd00::$2 peer fd00::$4/128"
	ns=$(router "$1" "$2")
	ip -n "${!ul}" link add "$3" type wireguard || bail_out "no WireGuard device"
	in_ns "${!ul}" wg set "$3" listen-port "$(port "$1" "$2" "${4:-}")" \
		private-key /dev/stdin <<<"${PRIVATE[$2]}"
	ip -n "${!ul}" link set "$3" netns "$ns"
	ip -n "$ns" -batch - <<-END || bail_out "no addresses"
		link set $3 up
		address add $address dev $3
		address add $address6 dev $3
		address add fe80::$2/64 dev $3
	END
}

# add_links LETTER LINK...
add_links()
{
	local letter=$1 link
	shift

	for link in "$@"; do
		LINKS[$letter]+=" $link"
		add_end "$letter" "${link%-*}" "${link#*-}"
		add_end "$letter" "${link#*-}" "${link%-*}"
	done
	MEMBERS[$letter]=$(tr -s ' -' '\n' <<<"${LINKS[$letter]}" | grep . | sort -nu | paste -sd ' ')
}

# add_end LETTER A B: what router A needs for the link to B
add_end()
{
	local dev allowed=0.0.0.0/0,::/0

	dev=$(device "$@")
	if [[ ${FORM[$1]} == one ]]; then
		allowed=$(addresses_of "$3")
	else
		add_device "$1" "$2" "$dev" "$3"
	fi
	in_router "$1" "$2" wg set "$dev" peer "${KEY[$3]}" \
		endpoint "127.0.0.1:$(port "$1" "$3" "$2")" allowed-ips "$allowed"
}

# remove_router LETTER N: with its daemons, its links and what the others have of it
remove_router()
{
	local m

	stop_daemons "$1" "$2"
	for m in $(neighbours "$1" "$2"); do
		if [[ ${FORM[$1]} == one ]]; then
			in_router "$1" "$m" wg set wg0 peer "${KEY[$2]}" remove
		else
			ip -n "$(router "$1" "$m")" link del "wg$2"
		fi
	done
	LINKS[$1]=$(tr ' ' '\n' <<<"${LINKS[$1]}" | grep -vE "^$2-|-$2\$" | paste -sd ' ')
	MEMBERS[$1]=$(tr ' ' '\n' <<<"${MEMBERS[$1]}" | grep -vx "$2" | paste -sd ' ')
}

# links_of_nft LETTER LINK...: as elements of the underlay's set
elements()
{
	local letter=$1 link a b list=()
	shift

	for link in "$@"; do
		a=$(port "$letter" "${link%-*}" "${link#*-}")
		b=$(port "$letter" "${link#*-}" "${link%-*}")
		list+=("$a . $b" "$b . $a")
	done
	local IFS=,
	echo "{ ${list[*]} }"
}

# cut LETTER LINK...: nothing passes, and nobody is told
cut()
{
	local ul=ul$1

	in_ns "${!ul}" nft add element inet links cut "$(elements "$@")" || fail "cannot cut: $*"
}

# heal LETTER: all links
heal()
{
	local ul=ul$1

	in_ns "${!ul}" nft flush set inet links cut || fail "cannot heal"
}

# wgvia_set LETTER WORD...: on each router's device
wgvia_set()
{
	local n out

	for n in ${MEMBERS[$1]}; do
		out=$(in_router "$1" "$n" wgvia set wg0 "${@:2}" 2>&1) || fail "wgvia set wg0 ${*:2}: $out"
	done
}

# check_allowed_ips LETTER: AllowedIPs of one device hold what they were given, nothing else
check_allowed_ips()
{
	local n m

	for n in ${MEMBERS[$1]}; do
		check_eq "AllowedIPs of router $n" \
			"$(for m in $(neighbours "$1" "$n"); do
				echo "${KEY[$m]} $(addresses_of "$m" | tr ',' '\n' | sort | paste -sd ' ')"
			   done | sort)" \
			"$(in_router "$1" "$n" wg show wg0 allowed-ips | while read -r key ips; do
				# shellcheck disable=SC2086 # a word each
				echo "$key $(printf '%s\n' $ips | sort | paste -sd ' ')"
			   done | sort)"
	done
}

# --- who reaches whom ------------------------------------------------------

# probe_start LETTER ARG...: see reach.py
probe_start()
{
	local letter=$1 in out
	shift

	mkfifo "$TMP/probe"
	exec {out}< <(exec python3 "$daemons/reach.py" "$@" <"$TMP/probe" 2>&1)
	exec {in}>"$TMP/probe"
	rm "$TMP/probe"
	PROBE_IN[$letter]=$in PROBE_OUT[$letter]=$out
	probed "$letter"
	[[ $REPLY == ready ]] || bail_out "reach.py: $REPLY"
}

# probe LETTER COMMAND...: begin it, to be ended by probed. All routers with links, if none is named.
probe() { echo "${*:2} ${MEMBERS[$1]}" >&"${PROBE_IN[$1]}"; }

# probed LETTER: what came of it, in $REPLY, and the milliseconds in $TOOK
probed()
{
	REPLY='' TOOK=''
	read -r -t 600 -u "${PROBE_OUT[$1]}" REPLY || REPLY="reach.py does not answer"
	[[ $REPLY != "after "* ]] || TOOK=${REPLY#after }
}

# check_probed LETTER WHAT: it came to pass
check_probed()
{
	probed "$1"
	[[ -n $TOOK ]] || { fail "$2: $REPLY"; return 1; }
	note "$2: $TOOK ms"
}

# Five zebras take their time to start.
WAIT_TIMEOUT_MS=$((3 * WAIT_TIMEOUT_MS))

# How long a mesh may take, in seconds: nobody measures here.
PATIENCE=$((${PATIENCE:-180} * SLOW))

# check_reach LETTER WHAT: all reach all
check_reach()
{
	probe "$1" reach "$PATIENCE"
	check_probed "$1" "$2"
}

# probe_direct LETTER: and over one hop, where there is a link
probe_direct() { probe "$1" direct "$PATIENCE" "$(tr -s ' ' , <<<"${LINKS[$1]}" | sed 's/^,//')"; }

# check_direct LETTER WHAT
check_direct()
{
	probe_direct "$1"
	check_probed "$1" "$2"
}

# each COMMAND WORD...: with each mesh of $MESHES
each() { local l; for l in $MESHES; do "$1" "$l" "${@:2}"; done; }

# Milliseconds that each mesh took, all together
declare -A SUM=()

# check_each WHAT: what the meshes of $MESHES were asked for came to pass
# shellcheck disable=SC2031 # indices, not variables
check_each()
{
	local l status=0

	for l in $MESHES; do
		check_probed "$l" "${FORM[$l]}: $1" || { logs "$l"; status=1; }
		SUM[$l]=$((${SUM[$l]:-0} + ${TOOK:-0}))
	done
	return $status
}

# go_through DAEMON: each mesh of $MESHES, of five routers, does at the same time as the others, so that
# all have the same share of the machine
go_through()
{
	each probe_direct
	each start_all "$1"
	check_each "the direct ways are used" || return
	each cut 1-3 4-5
	each probe reach "$PATIENCE"
	check_each "all reach all after two links were cut" || return
	each heal
	each probe_direct
	check_each "the direct ways are used again after they healed" || return
	[[ $MESHES != "o m" ]] ||
		note "one device takes $((100 * SUM[o] / SUM[m])) % of the time that a device for each peer takes"
}

# note TEXT: a diagnostic that is no fault
note() { echo "# $*"; }

# --- daemons ---------------------------------------------------------------

declare -A RUNNING=()	# router: process ids

# run_daemon LETTER N COMMAND...: in the background, until stop_daemons
run_daemon()
{
	nsenter --net="/run/netns/$(router "$1" "$2")" "${@:3}" >>"$(dir "$1" "$2")/log" 2>&1 </dev/null &
	RUNNING[$1$2]+=" $!"
}

# start_all LETTER DAEMON: start_DAEMON of the test file on each router
start_all()
{
	local n

	for n in ${MEMBERS[$1]}; do
		"start_$2" "$1" "$n"
	done
}

# stop_daemons LETTER N...: at once, as a machine that fails; their routes go too
stop_daemons()
{
	local n

	for n in "${@:2}"; do
		[[ -n ${RUNNING[$1$n]:-} ]] || continue
		# shellcheck disable=SC2086 # a word each
		kill -KILL ${RUNNING[$1$n]} 2>/dev/null
		# shellcheck disable=SC2086
		wait ${RUNNING[$1$n]} 2>/dev/null
		RUNNING[$1$n]=''
		flush_routes "$1" "$n"
	done
}

# flush_routes LETTER N: those of daemons
flush_routes()
{
	local f

	for f in 4 6; do
		printf 'route flush table all proto %s\n' babel bird bgp ospf zebra |
			ip -n "$(router "$1" "$2")" "-$f" -force -batch - >/dev/null 2>&1
	done
	ip -n "$(router "$1" "$2")" nexthop flush >/dev/null 2>&1
}

# babeld LETTER N LINE...: with these lines, and one for each device that begins with
# "interface DEVICE" and ends with $BABEL_DEVICE
babeld()
{
	local d file

	file=$(dir "$1" "$2")/babeld.conf
	for d in $(devices "$1" "$2"); do
		echo "interface $d $BABEL_DEVICE"
	done >"$file"
	printf '%s\n' "${@:3}" "redistribute local" "redistribute if lan" "redistribute deny" >>"$file"
	# Of one that was killed
	rm -f "$file.pid"
	run_daemon "$1" "$2" babeld -c "$file" -I "$file.pid" -S "$file.state"
}

# bird LETTER N CONFIG: with this configuration, after what all have
bird()
{
	local file

	file=$(dir "$1" "$2")/bird.conf
	{
		cat <<-END
			log stderr { info, remote, warning, error, auth, fatal, bug };
			router id 10.0.0.$2;
			protocol device { scan time 2; }
			protocol direct { ipv4; ipv6; interface "lan"; }
			protocol kernel { ipv4 { export where source != RTS_DEVICE; }; }
			protocol kernel { ipv6 { export where source != RTS_DEVICE; }; }
		END
		echo "$3"
	} >"$file"
	run_daemon "$1" "$2" bird -f -c "$file" -s "$file.ctl" -P "$file.pid"
}

# frr LETTER N CONFIG DAEMON...: zebra and these, with this configuration
frr()
{
	local d dir daemon

	dir=$(dir "$1" "$2")
	printf '%s\n' "hostname r$2" "$3" >"$dir/frr.conf"
	chown frr:frr "$dir/frr.conf"
	# Of one that was killed
	rm -f "$dir/zserv.api"
	for daemon in zebra "${@:4}"; do
		run_daemon "$1" "$2" "/usr/lib/frr/$daemon" -f "$dir/frr.conf" -z "$dir/zserv.api" \
			-i "$dir/$daemon.pid" --vty_socket "$dir" -P 0 --log stdout
		[[ $daemon != zebra ]] || busywait test -S "$dir/zserv.api" || fail "no zebra"
	done
}

# router_recipe LETTER N BLOCK [PIDFILE]: run a block of docs/recipes.md in the router and its folder; the
# daemon that it starts, if any, is stopped as others are.
router_recipe()
{
	local out dir

	dir=$(dir "$1" "$2")
	out=$(cd "$dir" && ROUTER=$2 NEIGHBOURS=$(neighbours "$1" "$2" | paste -sd ' ') \
		in_router "$1" "$2" bash -euo pipefail -c "$(block "$3")" 2>&1 </dev/null) ||
		fail "block $3 on router $2: $out"
	if [[ -n ${4:-} ]]; then
		busywait test -s "$dir/$4" || fail "block $3 on router $2 starts no daemon"
		RUNNING[$1$2]+=" $(cat "$dir/$4")"
		rm -f "$dir/$4"
	fi
}

# replace_router LETTER N DAEMON: remove it while the others run, and add it anew, with start_DAEMON
replace_router()
{
	local links

	mapfile -t links < <(tr ' ' '\n' <<<"${LINKS[$1]}" | grep -E "^$2-|-$2\$")
	remove_router "$1" "$2"
	check_reach "$1" "one was removed: all others reach all"
	check_allowed_ips "$1"
	add_links "$1" "${links[@]}"
	"start_$3" "$1" "$2"
	check_direct "$1" "one was added: the direct ways are used"
}

# logs LETTER: the ends of what the daemons said, as diagnostics
logs()
{
	local n

	for n in ${MEMBERS[$1]}; do
		# Zebra complains, often, that there is no mgmtd, which nothing here needs.
		fail "router $n of $1: $(grep -vE 'NB_OP_CHANGE|BE-client' "$(dir "$1" "$n")/log" | tail -n 5)"
	done
}

test_reset() { :; }

cleanup_file()
{
	local pids

	for pids in "${RUNNING[@]}"; do
		# shellcheck disable=SC2086 # a word each
		[[ -z $pids ]] || kill -KILL $pids 2>/dev/null
	done
}
