# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Traffic that goes on while a test changes something: TCP connections, and a stream of
# datagrams. Sourced after lib.sh.

# --- TCP -------------------------------------------------------------------

# listens NAME PORT: something accepts TCP connections in the namespace
listens()
{
	[[ -n $(in_ns "${!1}" ss -Hltn "sport = :$2") ]]
}

# transfer_start PEER DST MEGABYTES: a TCP connection from the hub, in the background. A slow
# kernel gets less to carry.
transfer_start()
{
	local ns=p$1 dst=$2

	[[ $dst != *:* ]] || dst="[$dst]"
	head -c "$(($3 * 1024 / SLOW))K" /dev/urandom >"$TMP/sent"
	nsenter --net="/run/netns/${!ns}" socat -u TCP6-LISTEN:5201,ipv6only=0 CREATE:"$TMP/received" &
	TRANSFER_SERVER=$!
	busywait listens "p$1" 5201 || fail "no server"
	nsenter --net="/run/netns/$hub" timeout $((100 * SLOW)) socat -u OPEN:"$TMP/sent" "TCP:$dst:5201" 2>"$TMP/client" &
	TRANSFER_CLIENT=$!
}

transfer_runs()
{
	kill -0 "$TRANSFER_SERVER" 2>/dev/null
}

# transfer_end: it ends well, and all that was sent has arrived
transfer_end()
{
	if wait "$TRANSFER_CLIENT"; then
		busywait eval ! transfer_runs || fail "the transfer does not end"
	else
		fail "the sender ends with status $?: $(cat "$TMP/client")"
	fi
	kill "$TRANSFER_SERVER" 2>/dev/null
	wait "$TRANSFER_SERVER" 2>/dev/null
	cmp -s "$TMP/sent" "$TMP/received" || fail "something else has arrived than was sent"
	rm -f "$TMP/sent" "$TMP/received"
}

# talk_start NAME URL: a TCP connection from the namespace to peer 2, which answers
# with what it is told
talk_start()
{
	nsenter --net="/run/netns/$p2" socat TCP6-LISTEN:5202,ipv6only=0 PIPE &
	TALK_SERVER=$!
	busywait listens p2 5202 || fail "no server"
	mkfifo "$TMP/fifo"
	nsenter --net="/run/netns/${!1}" socat - "TCP:$2:5202" <"$TMP/fifo" >"$TMP/answer" &
	TALK_CLIENT=$!
	TALKER=$1
	exec {talk}>"$TMP/fifo"
}

tell() { echo "$1" >&"$talk"; }

answered() { [[ $(cat "$TMP/answer" 2>/dev/null) == *"$1"* ]]; }

# check_talk_moves WORD THERE BACK: the very next segment goes to peer 3 after a command of
# ip, THERE, and no answer comes: the connection waits until another, BACK.
check_talk_moves()
{
	packets watch "$1" "$TALKER"
	# shellcheck disable=SC2086 # words of a command
	check ip_hub $2
	tell "$1"
	packets first
	check_eq "who receives the first segment" p3 "$REPLY"
	# A session keeps the order: what peer 2 has not received before this was not sent.
	check_send p2 hub 10.0.0.2
	packets watched
	check_eq "who receives any" p3 "$REPLY"
	answered "$1" && fail "an answer by the wrong peer"
	# shellcheck disable=SC2086 # words of a command
	check ip_hub $3
	busywait answered "$1" || fail "no answer after: $3"
}

# check_talk_follows PREFIX WORD: when the route is replaced
check_talk_follows()
{
	check_talk_moves "$2" "route replace $1 dev hub via-wgpeer ${KEY[3]}" \
		"route replace $1 dev hub via-wgpeer ${KEY[2]}"
}

talk_end()
{
	exec {talk}>&-
	wait "$TALK_CLIENT" || fail "the connection ends with status $?"
	kill "$TALK_SERVER" 2>/dev/null
	wait "$TALK_SERVER" 2>/dev/null
	rm "$TMP/fifo" "$TMP/answer"
}

# --- datagrams -------------------------------------------------------------

# stream_start HUB-ADDRESS PEER-ADDRESS PEER: numbered datagrams between the hub and the peer
# all the time, both ways, see lib_stream.py
stream_start()
{
	local args=("$@" "hub=$hub=hub") i ns

	for ((i = 1; i <= PEERS; i++)); do
		ns=p$i
		args+=("$ns=${!ns}=wg0")
	done
	mkfifo "$TMP/stream"
	exec {stream_out}< <(exec "$selftests/lib_stream.py" "${args[@]}" <"$TMP/stream" 2>&1)
	exec {stream_in}>"$TMP/stream"
	rm "$TMP/stream"
	stream_answers ready
}

# stream_answers EXPECTED
stream_answers()
{
	local line=

	read -r -t $((60 * SLOW)) -u "$stream_out" line
	check_eq "the stream" "$1" "$line"
}

# stream_more: go on until the present state of things has seen packets each way
stream_more()
{
	echo "more 30" >&"$stream_in"
	stream_answers more
}

# stream_end: none is lost, none has gone elsewhere
stream_end()
{
	echo end >&"$stream_in"
	stream_answers "none lost"
	exec {stream_in}>&- {stream_out}<&-
}
