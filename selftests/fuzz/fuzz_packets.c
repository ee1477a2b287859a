// SPDX-License-Identifier: GPL-2.0
/*
 * Send IP packets that are nearly right.
 *
 *	fuzz_packets COUNT SEED DEVICE
 *
 * They go to DEVICE, from and to addresses and ports that its routes, rules and
 * AllowedIPs know. The same seed gives the same packets.
 */

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

static void put_ip4(void)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64 };
	unsigned char options[40];
	int i;

	ip.protocol = one_in(2) ? IPPROTO_UDP : rnd();
	ip.tos = rnd();
	if (one_in(4))
		ip.frag_off = rnd();
	ip.saddr = htonl(0x0a000000 | below(4) << 16 | below(4));
	ip.daddr = htonl(0x0a000000 | below(32) << 16 | below(4));
	if (one_in(6))
		ip.saddr = rnd();
	if (one_in(6))
		ip.daddr = rnd();
	if (one_in(4))
		ip.ihl = rnd();
	if (one_in(20))
		ip.version = rnd();
	ip.tot_len = htons(20 + below(64));
	if (one_in(5))
		ip.tot_len = rnd();
	put(&ip, sizeof(ip));
	for (i = 0; i < (int)sizeof(options); i++)
		options[i] = one_in(3) ? below(256) : below(8);
	put(options, ip.ihl > 5 ? (ip.ihl - 5) * 4 : 0);
}

static void put_ip6(void)
{
	static const unsigned char next[] = { IPPROTO_UDP, IPPROTO_HOPOPTS, IPPROTO_FRAGMENT,
					      IPPROTO_ROUTING, IPPROTO_DSTOPTS, IPPROTO_NONE,
					      IPPROTO_ICMPV6 };
	struct ip6_hdr ip = { 0 };
	int which;

	for (which = 0; which < 2; which++) {
		struct in6_addr *addr = which ? &ip.ip6_dst : &ip.ip6_src;
		int kind = below(8);

		memset(addr, 0, sizeof(*addr));
		if (kind == 0) {
			/* IPv4-mapped */
			addr->s6_addr[10] = 0xff;
			addr->s6_addr[11] = 0xff;
			addr->s6_addr[12] = 10;
		} else if (kind == 1) {
			addr->s6_addr32[below(4)] = rnd();
		} else {
			addr->s6_addr[0] = 0xfd;
			addr->s6_addr[1] = below(32);
		}
		addr->s6_addr[15] = below(4);
	}
	ip.ip6_flow = htonl(6U << 28 | (rnd() & 0xfffffff));
	ip.ip6_nxt = pick(next);
	ip.ip6_hlim = rnd();
	/* Zero is a jumbogram. */
	ip.ip6_plen = one_in(4) ? 0 : htons(below(80));
	if (one_in(8))
		ip.ip6_plen = rnd();
	put(&ip, sizeof(ip));
}

static void fuzz_packets(unsigned long count, const char *name)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned long i, taken = 0;
	unsigned char body[64];

	if (fd < 0)
		die("packet socket");
	for (i = 0; i < count; i++) {
		bool v6 = one_in(2);
		unsigned int n;

		length = 0;
		if (v6)
			put_ip6();
		else
			put_ip4();
		for (n = 0; n < sizeof(body); n++)
			body[n] = one_in(2) ? below(16) : rnd();
		put(body, below(sizeof(body)));
		if (one_in(8))
			length = 1 + below(length);
		if (one_in(50))
			length = 1 + below(4000);
		to.sll_protocol = htons(v6 ^ one_in(50) ? ETH_P_IPV6 : ETH_P_IP);
		if (sendto(fd, message, length, 0, (struct sockaddr *)&to, sizeof(to)) > 0)
			taken++;
	}
	printf("# packets through %s: %lu sent, %lu of which the device took\n",
	       name, count, taken);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: fuzz_packets COUNT SEED DEVICE\n");
		return 2;
	}
	seed(argv[2]);
	fuzz_packets(strtoul(argv[1], NULL, 0), argv[3]);
	return 0;
}
