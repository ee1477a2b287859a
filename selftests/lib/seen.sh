# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Packets that are sent, and where they are seen. Sourced by lib.sh.

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

# check_forge EXPECTED NAME DEV SRC DST [FRAGMENT] [tos=N] [label=N] [uid=N]: what becomes of a
# packet made by hand
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
