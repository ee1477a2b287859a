#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A hub with many peers: what those that do not answer get of packets to groups; what a daemon's hello
# costs where half of them answer; and BIRD with many routes over ten of them, which it installs, moves
# and withdraws under traffic.
#
# Counts are asserted. Times, and what they make of throughput, are printed and not judged.
# SILENT, ANSWERING, DEAD and ROUTES are how many there are of each. In each of ROUNDS rounds the hub
# forwards for SECONDS_EACH seconds without hellos and for as long with them.

# shellcheck source=../lib/lib.sh
source "$(dirname "$0")/../lib/lib.sh"
# shellcheck source=../lib/traffic.sh
source "$selftests/lib/traffic.sh"

SILENT=${SILENT:-1000}
ANSWERING=${ANSWERING:-500}
DEAD=${DEAD:-500}
ROUTES=${ROUTES:-500000}
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-12}
SITES=10

# How many peers without a session get a copy in any second
PER_SECOND=16

# How long WireGuard waits before it tries a handshake again, in milliseconds
REKEY_TIMEOUT=5000

# How long WireGuard goes on to try, in seconds, and how often a daemon says hello
REKEY_ATTEMPT_TIME=90
HELLO=4

note() { echo "# $*"; }

in_ul() { in_ns "$ul" "$@"; }

milliseconds() { echo $((${EPOCHREALTIME//[.,]/} / 1000)); }

counter() { show ".counters.$1"; }

hello() { packets copy hub ff02::6 connect=no dev=hub; }

# hellos SECONDS: as babeld sends them
hellos()
{
	local i

	for ((i = 0; i < $1; i += HELLO)); do
		hello
		sleep $HELLO
	done
}

# many_hellos: so many that peers get them for whom hellos last since long ago, of which each has
# started a series of handshakes
many_hellos()
{
	local i

	for ((i = 0; i < REKEY_ATTEMPT_TIME; i += HELLO)); do
		hello
		sleep 1.1
	done
}

# --- peers -----------------------------------------------------------------

# Of devices, to delete them at once
ANSWERING_GROUP=21

# add_answering COUNT: so many with those of the topology; their devices share a namespace
add_answering()
{
	local i key

	for ((i = SITES + 1; i <= $1; i++)); do
		echo "link add wg$i group $ANSWERING_GROUP type wireguard"
	done | ip -n "$ul" -batch - || fail "cannot add devices"
	i=$SITES
	while read -r key; do
		in_ul wg set "wg$((++i))" listen-port $((51820 + i)) private-key /dev/stdin \
			peer "${KEY[0]}" endpoint 192.0.2.1:51820 allowed-ips ::/0 <<<"$key"
	done < <(random_keys $(($1 - SITES)))
	# Each would have taken any port before.
	check ip -n "$ul" link set group $ANSWERING_GROUP up
	in_ul wg show all public-key | while read -r i key; do
		printf '[Peer]\nPublicKey = %s\nEndpoint = 192.0.2.2:%d\n' "$key" $((51820 + ${i#wg}))
	done >"$TMP/answering"
	in_hub wg addconf hub "$TMP/answering" || fail "cannot add peers"
}

# add_dead COUNT: peers whose endpoints take packets and never answer
add_dead()
{
	local i=0 key

	while read -r key; do
		printf '[Peer]\nPublicKey = %s\nEndpoint = 192.0.2.2:%d\n' "$key" $((55000 + i++))
	done < <(random_keys "$1") >"$TMP/dead"
	in_hub wg addconf hub "$TMP/dead" || fail "cannot add peers"
	in_ul nft -f - <<-END || fail "no rules"
		table ip dead {
			set reached { type inet_service; flags dynamic; size 65535; }
			counter handshakes { }
			chain input {
				type filter hook input priority filter
				udp dport 55000-65000 counter name handshakes add @reached { udp dport } drop
			}
		}
	END
}

# remove_peers FILE: those that were added by it
remove_peers()
{
	[[ ! -e $TMP/$1 ]] || sed -n 's/^PublicKey = \(.*\)/peer \1 remove/p' "$TMP/$1" |
		xargs -r -n 300 nsenter --net="/run/netns/$hub" wg set hub
	rm -f "$TMP/$1"
}

remove_dead()
{
	remove_peers dead
	in_ul nft delete table ip dead 2>/dev/null
}

remove_answering()
{
	remove_peers answering
	ip -n "$ul" link del group $ANSWERING_GROUP 2>/dev/null
}

# sessions: peers with which there is one
sessions() { in_hub wg show hub latest-handshakes | grep -cv $'\t0$'; }

# reached: peers that do not answer and have been sent something
reached() { in_ul nft -j list set ip dead reached | jq '.nftables[] | .set // empty | .elem // [] | length'; }

reached_are() { [[ $(reached) == "$1" ]]; }

# handshakes: packets that those peers were sent, nothing else than initiations
handshakes() { in_ul nft -j list counter ip dead handshakes | jq '.nftables[] | .counter // empty | .packets'; }

# --- peers that do not answer ----------------------------------------------

silent()
{
	local turns=$((SILENT / PER_SECOND)) turn begun now copies given tries begins=() allowed=0
	# The guest makes handshakes all the time.
	local WAIT_TIMEOUT_MS=$((5 * WAIT_TIMEOUT_MS))

	check in_hub wgvia set hub multicast on
	add_dead "$SILENT"
	copies=$(counter multicast_copies)
	for ((turn = 0; turn < turns; turn++)); do
		begins+=("$(milliseconds)")
		hello
		sleep 1.1
	done
	# In turn: nobody has a second one before all have had one.
	busywait reached_are $((turns * PER_SECOND)) ||
		fail "after $turns packets $(reached) peers have been sent something"
	check_eq "copies of $turns packets" $((turns * (SITES + PER_SECOND))) \
		$(($(counter multicast_copies) - copies))

	# However many packets there are.
	copies=$(counter multicast_copies)
	begun=$(milliseconds)
	for ((turn = 0; turn < 50; turn++)); do
		hello
	done
	sleep 0.5
	now=$(milliseconds)
	given=$(($(counter multicast_copies) + $(counter multicast_drops) - copies - 50 * SITES))
	note "50 packets in $((now - begun)) ms: $given copies to peers without a session"
	((given <= PER_SECOND * (2 + (now - begun) / 1000))) ||
		fail "in $((now - begun)) ms peers without a session got $given copies"

	# A copy begins a handshake, which WireGuard tries again and again.
	tries=$(handshakes)
	now=$(milliseconds)
	for begun in "${begins[@]}"; do
		allowed=$((allowed + PER_SECOND * (1 + (now - begun) / REKEY_TIMEOUT)))
	done
	allowed=$((allowed + given))
	given=$((given + PER_SECOND * turns))
	note "$SILENT peers that do not answer, in $(((now - begins[0]) / 1000)) s: $given copies," \
		"$tries handshakes begun, of $allowed at most"
	((tries <= allowed)) || fail "$tries handshakes begun, of $allowed at most"
}

# --- half of the peers answer ----------------------------------------------

# busy: hundredths of a second that the processors have been busy
# shellcheck disable=SC2016 # fields of awk
busy() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }

# sent: packets that the hub has sent to the peers' sockets
sent() { ip_hub -s -j link show ul | jq '.[0].stats64.tx.packets'; }

# costs WHAT COMMAND...: the processors' time and the hub's packets while it runs
costs()
{
	local what=$1 start ticks packets took
	shift

	start=$(milliseconds) ticks=$(busy) packets=$(sent)
	"$@"
	took=$(($(milliseconds) - start))
	note "$what: $(((($(busy) - ticks) * 1000) / took)) % of one processor," \
		"$((($(sent) - packets) * 1000 / took)) packets a second"
}

# forwarded: kilobits a second that the hub carries from the LAN to peer 1
forwarded()
{
	in_ns "$lan" iperf3 -c 10.1.0.1 -t "$SECONDS_EACH" -J | jq '.end.sum_received.bits_per_second / 1000 | floor'
}

# dead_anew: the peers that do not answer, to none of which anything has been sent
dead_anew()
{
	remove_dead
	add_dead "$DEAD"
}

# all_copies: how many have been made, as soon as there are none to come
all_copies()
{
	local now before=

	until now=$(counter multicast_copies) && [[ $now == "$before" ]]; do
		before=$now
		sleep 1
	done
	echo "$now"
}

half_answer()
{
	local round=0 before copies with without ratio ratios=() server beside

	set_mode on
	check in_hub wgvia set hub multicast on
	add_answering "$ANSWERING"
	until (($(sessions) == ANSWERING)); do
		((round++ < 4 * ANSWERING / PER_SECOND + 60)) || { fail "sessions: $(sessions) of $ANSWERING"; break; }
		hello
		sleep 1.1
	done
	add_dead "$DEAD"
	note "$ANSWERING peers have a session, $DEAD never answer"

	costs "no hellos" sleep 30
	many_hellos
	before=$(all_copies)
	costs "a hello every $HELLO s" hellos 60
	copies=$(($(all_copies) - before))
	note "15 hellos: $copies copies"
	((copies >= 15 * ANSWERING && copies <= 15 * (ANSWERING + PER_SECOND))) ||
		fail "15 hellos made $copies copies, where $ANSWERING peers have a session"

	check ip_hub route add 10.1.0.0/16 via 10.0.0.1 dev hub
	nsenter --net="/run/netns/$p1" iperf3 -s >/dev/null 2>&1 &
	server=$!
	busywait listens p1 5201 || fail "no server"
	for ((round = 0; round < ROUNDS; round++)); do
		dead_anew
		without=$(forwarded)
		many_hellos
		hellos "$SECONDS_EACH" &
		beside=$!
		with=$(forwarded)
		wait "$beside"
		((without > 0 && with > 0)) || { fail "nothing is forwarded"; break; }
		ratio=$((with * 1000 / without))
		ratios+=("$ratio")
		note "forwarded: $without kbit/s without hellos, $with with: $ratio thousandths"
	done
	kill "$server"
	wait "$server" 2>/dev/null
	note "median of $ROUNDS rounds: $(printf '%s\n' "${ratios[@]}" | sort -n |
		sed -n "$(((ROUNDS + 1) / 2))p") thousandths"
}

# --- many routes -----------------------------------------------------------

# routes_of FIRST: each by the next of the peers, as moving.py's plan FIRST/SITES
routes_of()
{
	awk -v first="$1" -v sites="$SITES" -v count="$ROUTES" 'BEGIN {
		for (i = 0; i < count; i++)
			printf "route 10.%d.%d.%d/32 via 10.0.0.%d;\n", 64 + int(i / 65536),
				int(i / 256) % 256, i % 256, 1 + (first + i) % sites
	}'
}

# moved_half: half of the routes by another peer, the others as before
moved_half()
{
	paste -d '\n' <(routes_of 0 | sed -n 'p;n') <(routes_of 1 | sed -n 'n;p')
}

# installed: how many routes each peer has in the kernel
installed()
{
	ip_hub route show proto bird | awk -v sites="$SITES" '
		{ count[$3]++ }
		END { for (i = 1; i <= sites; i++) printf "%d%s", count["10.0.0." i], i < sites ? " " : "\n" }'
}

# installed_are COUNT...
installed_are() { [[ $(installed) == "$*" ]] || { sleep 1; return 1; }; }

# pairs COUNT COUNT: the one for odd peers and the other for even ones
pairs()
{
	local i

	for ((i = 0; i < SITES; i += 2)); do
		printf '%d %d ' "$1" "$2"
	done
}

traffic()
{
	echo "$*" >&"$moving_in"
	REPLY=''
	read -r -t $((600 * SLOW)) -u "$moving_out" || REPLY="moving.py does not answer"
	check_eq "traffic: $*" good "$REPLY"
}

# step PLAN PLAN ODD EVEN: BIRD brings what is in $TMP/routes.new into the kernel, until odd and even
# peers have so many routes
step()
{
	local start counts

	read -ra counts < <(pairs "$3" "$4")
	mv "$TMP/routes.new" "$TMP/routes.conf"
	traffic between "$1" "$2"
	start=$(milliseconds)
	in_hub birdc -s "$TMP/bird.ctl" configure >"$TMP/birdc" || fail "birdc: $(<"$TMP/birdc")"
	busywait installed_are "${counts[@]}" || fail "routes of the peers: $(installed)"
	note "BIRD, $ROUTES routes from $1 to $2: $((($(milliseconds) - start) / 1000)) s"
	traffic all "$2"
}

many_routes()
{
	local i ns receivers=() share=$((ROUTES / SITES)) bird
	local WAIT_TIMEOUT_MS=$((WAIT_TIMEOUT_MS + ROUTES * SLOW))

	set_mode on
	for ((i = 1; i <= SITES; i++)); do
		check in_peer "$i" ip route add local 10.64.0.0/10 dev lo
		ns=p$i
		receivers+=("$i=${!ns}")
	done
	cat >"$TMP/bird.conf" <<-END
		log stderr all;
		router id 10.0.0.254;
		protocol device { }
		protocol kernel { ipv4 { export all; }; }
		protocol static {
			ipv4;
			include "$TMP/routes.conf";
		}
	END
	: >"$TMP/routes.conf"
	nsenter --net="/run/netns/$hub" bird -f -c "$TMP/bird.conf" -s "$TMP/bird.ctl" -P "$TMP/bird.pid" \
		>"$TMP/bird.log" 2>&1 </dev/null &
	bird=$!
	busywait birdc -s "$TMP/bird.ctl" show status >/dev/null 2>&1 || fail "no BIRD: $(<"$TMP/bird.log")"
	mkfifo "$TMP/moving"
	exec {moving_out}< <(exec python3 "$selftests/hardening/moving.py" "$hub" "$ROUTES" "${receivers[@]}" \
		<"$TMP/moving" 2>&1)
	exec {moving_in}>"$TMP/moving"
	read -r -t $((60 * SLOW)) -u "$moving_out" || fail "moving.py does not start"

	traffic all none
	routes_of 0 >"$TMP/routes.new"
	step none "0/$SITES" "$share" "$share"
	# The even numbers stay with the odd peers, and the odd numbers join them.
	moved_half >"$TMP/routes.new"
	step "0/$SITES" "half/$SITES" $((2 * share)) 0
	: >"$TMP/routes.new"
	step "half/$SITES" none 0 0
	exec {moving_in}>&- {moving_out}<&-
	check_eq "AllowedIPs of peer 2" "10.0.0.2/32 fd00::2/128 fe80::2/128" \
		"$(in_hub wg show hub allowed-ips | awk -v k="${KEY[2]}" '$1 == k' | cut -f 2 | tr ' ' '\n' | sort | paste -sd ' ')"
	kill "$bird"
	wait "$bird" 2>/dev/null
}

test_reset()
{
	check in_hub wgvia set hub multicast off
	remove_dead
	remove_answering
	reset_hub
}

setup_hub $SITES lan
test_add "peers that do not answer get copies in turn, $PER_SECOND a second" silent
test_add "a daemon's hellos where half of the peers answer" half_answer
test_add "BIRD installs, moves and withdraws routes under traffic" many_routes

tests_run
