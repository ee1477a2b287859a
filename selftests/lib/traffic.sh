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

# transfer_start PEER DST: a TCP connection from the hub, in the background, which carries
# random bytes until transfer_end: what is to happen meanwhile does, however fast the machine
# is. So nobody knows how much it will be, and sums of what is sent and of what arrives are
# all that is kept.
transfer_start()
{
	local ns=p$1 dst=$2

	[[ $dst != *:* ]] || dst="[$dst]"
	TRANSFER_PEER=$1
	nsenter --net="/run/netns/${!ns}" socat -u TCP6-LISTEN:5201,ipv6only=0 STDOUT \
		> >(sha256sum >"$TMP/received") &
	TRANSFER_SERVER=$!
	busywait listens "p$1" 5201 || fail "no server"
	touch "$TMP/more"
	while [[ -e $TMP/more ]] && head -c 64K /dev/urandom; do :; done |
		tee >(sha256sum >"$TMP/sent") |
		nsenter --net="/run/netns/$hub" timeout $((200 * SLOW)) \
			socat -u STDIN "TCP:$dst:5201" 2>"$TMP/client" &
	TRANSFER_CLIENT=$!
}

# arrived: bytes of the transfer, without those that came before their turn
arrived()
{
	in_peer "$TRANSFER_PEER" ss -Htin "sport = :5201" |
		sed -nE 's/.*bytes_received:([0-9]+).*/\1/p'
}

has_arrived() { [[ $(arrived) -ge $1 ]]; }

# transfer_more KILOBYTES: the present state of things lets so many more arrive. A slow kernel
# gets less to carry.
transfer_more()
{
	busywait has_arrived $(($(arrived) + $1 * 1024 / SLOW)) || {
		fail "the transfer has stopped"
		return 1
	}
}

transfer_runs()
{
	kill -0 "$TRANSFER_SERVER" 2>/dev/null
}

# sha256sum prints when all is over.
transfer_summed() { [[ -s $TMP/sent && -s $TMP/received ]]; }

# transfer_end: it ends well, and all that was sent has arrived
transfer_end()
{
	rm "$TMP/more"
	if wait "$TRANSFER_CLIENT"; then
		busywait eval ! transfer_runs || fail "the transfer does not end"
	else
		fail "the sender ends with status $?: $(cat "$TMP/client")"
	fi
	kill "$TRANSFER_SERVER" 2>/dev/null
	wait "$TRANSFER_SERVER" 2>/dev/null
	busywait transfer_summed || fail "no sum of what was sent or of what has arrived"
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
# all the time, both ways, see lib/stream.py
stream_start()
{
	local args=("$@" "hub=$hub=hub") i ns

	for ((i = 1; i <= PEERS; i++)); do
		ns=p$i
		args+=("$ns=${!ns}=wg0")
	done
	mkfifo "$TMP/stream"
	exec {stream_out}< <(exec "$selftests/lib/stream.py" "${args[@]}" <"$TMP/stream" 2>&1)
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
