// SPDX-License-Identifier: GPL-2.0
/*
 * Measures what a host does for packets that it sends or receives by WireGuard, in ticks of
 * the time stamp counter: instructions in a guest with --icount, else time.
 *
 *	packets sent|received NEAR BATCHES PACKETS BYTES HUB [HUB] <ADDRESSES
 *
 * HUB is the namespace of a host and HUB-peer that of its peer; each has an end of the cable
 * between them, "cable". Packets with so many bytes go in batches, to or from each of the
 * addresses in turn; NEAR is the hub's own address. Two hosts take turns, so that what else
 * the machine does falls on both alike. Prints the lower quartile of the batches
 * of each, on a line: that is what they take where less other work comes in between.
 *
 * "sent" is from the system call of the sender to the encrypted packets at the other end of the
 * cable; "received" is from there to the system call of the receiver. The encrypted packets
 * that it takes are caught on their way out beforehand. What goes over the cable otherwise has
 * an Ethernet address that is nobody's, by the neighbour tables, so that the other end does
 * nothing for it.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <x86intrin.h>

#define MOST		64	/* packets of a batch */
#define PORT		4750
#define IPV4_HEADER	20
#define UDP_CHECKSUM	(IPV4_HEADER + 6)
#define MESSAGE		(IPV4_HEADER + 8)
#define MESSAGE_DATA	4	/* of WireGuard */

static const unsigned char hub_mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 };

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct hub {
	int at_hub;
	int at_cable;
	uint64_t *counts;
};

static struct mmsghdr batch[MOST];
static struct iovec parts[MOST];
static unsigned char packets[MOST][2048];
static int size;

static void enter(const char *name, const char *suffix)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s%s", name, suffix);
	fd = open(path, O_RDONLY);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		err(1, "%s", path);
	close(fd);
}

/* In the namespace. What does not come in two seconds is lost. */
static int open_socket(int family, int type, int protocol)
{
	struct timeval limit = { .tv_sec = 2 };
	int fd;

	fd = socket(family, type, protocol);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		err(1, "socket");
	return fd;
}

static union address parse(const char *text)
{
	union address address = {};

	address.any.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (address.any.sa_family == AF_INET) {
		address.v4.sin_port = htons(PORT);
		if (inet_pton(AF_INET, text, &address.v4.sin_addr) != 1)
			errx(2, "'%s' is no address", text);
	} else {
		address.v6.sin6_port = htons(PORT);
		if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) != 1)
			errx(2, "'%s' is no address", text);
	}
	return address;
}

static size_t read_addresses(union address **addresses)
{
	char line[INET6_ADDRSTRLEN + 1];
	size_t count = 0, room = 0;

	*addresses = NULL;
	while (fgets(line, sizeof(line), stdin)) {
		if (count == room) {
			room = 2 * room + 1024;
			*addresses = realloc(*addresses, room * sizeof(**addresses));
			if (!*addresses)
				err(1, "realloc");
		}
		line[strcspn(line, "\n")] = 0;
		(*addresses)[count++] = parse(line);
	}
	if (!count)
		errx(2, "no addresses");
	return count;
}

/* Make a message of the packet, or room for one, to or from the address if there is one. */
static void set_message(int i, size_t len, void *name, socklen_t name_len)
{
	parts[i] = (struct iovec){ .iov_base = packets[i], .iov_len = len };
	batch[i].msg_hdr = (struct msghdr){
		.msg_iov = &parts[i],
		.msg_iovlen = 1,
		.msg_name = name,
		.msg_namelen = name_len,
	};
}

static void send_batch(int fd)
{
	if (sendmmsg(fd, batch, size, 0) != size)
		err(1, "sendmmsg");
}

static void receive_batch(int fd)
{
	if (recvmmsg(fd, batch, size, 0, NULL) != size)
		err(1, "recvmmsg");
}

/* Whatever else came must not count as a packet of the next batch. */
static void drain(int fd)
{
	while (recv(fd, packets[0], 0, MSG_DONTWAIT) >= 0)
		;
}

/* Send one packet from the address, by the peer. */
static void send_from(const union address *from, const union address *to, size_t bytes)
{
	const int on = 1, v4 = from->any.sa_family == AF_INET;
	int fd = open_socket(from->any.sa_family, SOCK_DGRAM, 0);

	if (setsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on,
		       sizeof(on)) ||
	    bind(fd, &from->any, sizeof(*from)))
		err(1, "bind");
	if (sendto(fd, packets[0], bytes, 0, &to->any, sizeof(*to)) < 0)
		err(1, "sendto");
	close(fd);
}

/* Catch one encrypted packet on its way out; returns its length. */
static size_t catch(int fd, unsigned char *packet)
{
	struct sockaddr_ll from;
	socklen_t len;
	ssize_t got;

	do {
		len = sizeof(from);
		got = recvfrom(fd, packet, sizeof(packets[0]), 0, (void *)&from, &len);
		if (got < 0)
			err(1, "nothing to catch");
	} while (from.sll_pkttype != PACKET_OUTGOING || from.sll_protocol != htons(ETH_P_IP) ||
		 got <= MESSAGE || packet[MESSAGE] != MESSAGE_DATA);
	/* It was left to the device. */
	memset(packet + UDP_CHECKSUM, 0, 2);
	return got;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Open the sockets of a host: one for its own address, one for the other end of its cable. */
static void open_hub(struct hub *hub, const char *name, const union address *near)
{
	struct sockaddr_ll cable = {
		.sll_family = AF_PACKET,
		/* With ETH_P_IP it would come after what drops packets. */
		.sll_protocol = htons(ETH_P_ALL),
	};

	enter(name, "");
	hub->at_hub = open_socket(near->any.sa_family, SOCK_DGRAM, 0);
	if (bind(hub->at_hub, &near->any, sizeof(*near)))
		err(1, "bind");
	enter(name, "-peer");
	hub->at_cable = open_socket(AF_PACKET, SOCK_DGRAM, 0);
	cable.sll_ifindex = if_nametoindex("cable");
	if (bind(hub->at_cable, (void *)&cable, sizeof(cable)))
		err(1, "bind");
}

/* In the namespace of the peer; returns the ticks of a batch. */
static uint64_t measure(struct hub *hub, bool sent, const union address *near, size_t bytes,
			union address *first, size_t left)
{
	struct sockaddr_ll cable = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = if_nametoindex("cable"),
		.sll_halen = ETH_ALEN,
	};
	uint64_t start;

	memcpy(cable.sll_addr, hub_mac, ETH_ALEN);
	drain(hub->at_cable);
	drain(hub->at_hub);
	for (int i = 0; i < size; i++) {
		union address *address = &first[i % left];

		if (sent) {
			set_message(i, bytes, address, sizeof(*address));
		} else {
			send_from(address, near, bytes);
			set_message(i, catch(hub->at_cable, packets[i]), &cable, sizeof(cable));
		}
	}
	start = __rdtsc();
	send_batch(sent ? hub->at_hub : hub->at_cable);
	for (int i = 0; i < size; i++)
		set_message(i, sizeof(packets[0]), NULL, 0);
	receive_batch(sent ? hub->at_cable : hub->at_hub);
	return __rdtsc() - start;
}

int main(int argc, char **argv)
{
	static struct hub hubs[2];
	union address near, *addresses;
	size_t bytes, count;
	int batches;
	bool sent;

	if (argc != 7 && argc != 8)
		errx(2, "usage: packets sent|received NEAR BATCHES PACKETS BYTES HUB [HUB] <ADDRESSES");
	sent = !strcmp(argv[1], "sent");
	near = parse(argv[2]);
	batches = atoi(argv[3]);
	size = atoi(argv[4]);
	bytes = atoi(argv[5]);
	argv += 6;
	argc -= 6;
	if (batches < 1 || size < 1 || size > MOST || bytes > sizeof(packets[0]))
		errx(2, "that is too little or too much");
	count = read_addresses(&addresses);
	for (int i = 0; i < argc; i++) {
		open_hub(&hubs[i], argv[i], &near);
		hubs[i].counts = calloc(batches, sizeof(*hubs[i].counts));
		if (!hubs[i].counts)
			err(1, "calloc");
	}

	for (int i = 0; i < batches; i++) {
		size_t first = (size_t)i * size % count;

		for (int turn = 0; turn < argc; turn++) {
			/* None is always behind the other. */
			int j = i % 2 ? argc - 1 - turn : turn;

			enter(argv[j], "-peer");
			hubs[j].counts[i] = measure(&hubs[j], sent, &near, bytes, &addresses[first],
						    count - first);
		}
	}
	for (int i = 0; i < argc; i++) {
		qsort(hubs[i].counts, batches, sizeof(*hubs[i].counts), compare);
		printf("%" PRIu64 "\n", hubs[i].counts[batches / 4]);
	}
	return 0;
}
