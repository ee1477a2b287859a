// SPDX-License-Identifier: GPL-2.0
/*
 * Send netlink messages that are nearly right, and packets that are nearly right.
 *
 *	fuzz netlink COUNT SEED HUB OTHER [CORPUS]
 *	fuzz packets COUNT SEED DEVICE
 *
 * netlink: routes, nexthop objects and the generic netlink family of wgvia, for
 * the WireGuard device HUB and the device OTHER, which is of another kind. Every
 * value is taken from a small pool, so that messages refer to what earlier ones
 * made; then one message in two is damaged. Where the kernel has KCOV, a message
 * that reaches code which none has reached before is kept, in the file CORPUS too
 * if one is given, and some messages are damaged copies of those kept.
 *
 * packets: IP packets to DEVICE, from and to addresses that its routes and
 * AllowedIPs know.
 *
 * The same seed gives the same messages, without KCOV.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/kcov.h>
#include <linux/netlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/wgvia.h>

#define RTA_WGPEER 0x1747
#define LWTUNNEL_ENCAP_WGPEER 64
#define LWTUNNEL_ENCAP_BPF 6
#define KEY_LEN 32
#define SPACE 8192

static uint64_t state;

static uint32_t rnd(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dULL) >> 32;
}

static uint32_t below(uint32_t limit)
{
	return rnd() % limit;
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

#define pick(pool) ((pool)[below(sizeof(pool) / sizeof((pool)[0]))])

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- attributes ---------------------------------------------------------- */

static unsigned char message[SPACE];
static size_t length;
static uint32_t devices[4];

static void put(const void *data, size_t len)
{
	if (length + len + 8 > SPACE)
		return;
	memcpy(message + length, data, len);
	length += len;
	while (length % 4)
		message[length++] = 0;
}

static size_t nest_start(uint16_t type)
{
	struct nlattr attr = { .nla_len = sizeof(attr), .nla_type = type };
	size_t start = length;

	put(&attr, sizeof(attr));
	return start;
}

static void nest_end(size_t start)
{
	uint16_t len = length - start;

	memcpy(message + start, &len, sizeof(len));
}

static void attr(uint16_t type, const void *data, size_t len)
{
	struct nlattr head = { .nla_len = sizeof(head) + len, .nla_type = type };

	put(&head, sizeof(head));
	put(data, len);
}

static void attr_u32(uint16_t type, uint32_t value)
{
	attr(type, &value, sizeof(value));
}

static void attr_u16(uint16_t type, uint16_t value)
{
	attr(type, &value, sizeof(value));
}

/* The keys 1 and 2 are of peers that the device has, see fuzz.sh. */
static void put_key(void)
{
	static const uint16_t lengths[] = { 0, 1, 31, 33, 64, 4096 };
	static unsigned char key[4096];
	size_t len = KEY_LEN;

	memset(key, below(12), KEY_LEN);
	if (one_in(20))
		len = pick(lengths);
	attr(RTA_WGPEER | (one_in(40) ? NLA_F_NESTED : 0), key, len);
}

static uint32_t device(void)
{
	return one_in(8) ? pick(devices) : devices[0];
}

static void put_address(uint16_t type, int family)
{
	unsigned char addr[16] = { 0 };

	if (family == AF_INET6) {
		addr[0] = 0xfd;
		addr[15] = below(4);
	} else {
		addr[0] = 10;
		addr[3] = below(4);
	}
	attr(type, addr, family == AF_INET6 ? 16 : 4);
}

static void put_encap(uint16_t type_attr, uint16_t encap_attr)
{
	uint16_t type = one_in(8) ? below(70) : LWTUNNEL_ENCAP_WGPEER;
	size_t start;

	if (!one_in(16))
		attr_u16(type_attr, type);
	if (one_in(16))
		return;
	start = nest_start(encap_attr | NLA_F_NESTED);
	do {
		if (one_in(12))
			attr_u32(below(8), rnd());
		else
			put_key();
	} while (one_in(10));
	nest_end(start);
}

static void put_hops(int family)
{
	size_t nest = nest_start(RTA_MULTIPATH);
	int count = 1 + below(4);

	while (count--) {
		struct rtnexthop hop = { .rtnh_hops = one_in(8) ? below(256) : 0,
					 .rtnh_ifindex = device() };
		size_t start = length;

		put(&hop, sizeof(hop));
		if (!one_in(4))
			put_key();
		if (one_in(4))
			put_address(RTA_GATEWAY, family);
		if (one_in(12))
			put_encap(RTA_ENCAP_TYPE, RTA_ENCAP);
		hop.rtnh_len = length - start + (one_in(30) ? below(16) : 0);
		memcpy(message + start, &hop, sizeof(hop));
	}
	nest_end(nest);
}

/* --- messages ------------------------------------------------------------ */

static void put_route(void)
{
	static const unsigned char types[] = { RTN_UNICAST, RTN_LOCAL, RTN_BLACKHOLE,
					       RTN_UNREACHABLE, RTN_MULTICAST, 99 };
	struct rtmsg rtm = {
		.rtm_family = one_in(2) ? AF_INET : AF_INET6,
		.rtm_table = one_in(10) ? below(256) : RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = one_in(4) ? below(256) : RT_SCOPE_UNIVERSE,
		.rtm_type = one_in(10) ? pick(types) : RTN_UNICAST,
	};
	unsigned char dst[16] = { 0 };

	if (rtm.rtm_family == AF_INET) {
		if (!one_in(4))
			rtm.rtm_scope = RT_SCOPE_LINK;
		rtm.rtm_dst_len = 16;
		dst[0] = 10;
	} else {
		rtm.rtm_dst_len = 48;
		dst[0] = 0xfd;
	}
	dst[1] = 16 + below(16);
	if (one_in(20))
		rtm.rtm_dst_len = rnd();
	if (one_in(30))
		rtm.rtm_family = rnd();
	put(&rtm, sizeof(rtm));
	attr(RTA_DST, dst, rtm.rtm_family == AF_INET6 ? 16 : 4);
	if (!one_in(6))
		attr_u32(RTA_OIF, device());
	if (!one_in(4))
		put_key();
	if (one_in(6))
		put_address(RTA_GATEWAY, rtm.rtm_family);
	if (one_in(4))
		put_hops(rtm.rtm_family);
	if (one_in(6))
		put_encap(RTA_ENCAP_TYPE, RTA_ENCAP);
	if (one_in(8))
		attr_u32(RTA_NH_ID, 1 + below(8));
	if (one_in(4))
		attr_u32(RTA_PRIORITY, below(4));
	if (one_in(30))
		put_key();
}

static void put_nexthop(bool new)
{
	struct nhmsg nhm = {
		.nh_family = one_in(2) ? AF_INET : AF_INET6,
		.nh_protocol = new ? RTPROT_BOOT : 0,
	};
	struct nexthop_grp group[4] = { 0 };
	int i, count = 1 + below(4);

	if (new && one_in(4))
		nhm.nh_family = AF_UNSPEC;
	if (one_in(20))
		nhm.nh_family = rnd();
	if (!new)
		nhm.nh_family = 0;
	put(&nhm, sizeof(nhm));
	attr_u32(NHA_ID, 1 + below(8));
	if (!new && !one_in(10))
		return;
	if (nhm.nh_family == AF_UNSPEC) {
		for (i = 0; i < count; i++) {
			group[i].id = 1 + below(8);
			group[i].weight = one_in(8) ? below(256) : 0;
		}
		attr(NHA_GROUP, group, count * sizeof(group[0]));
		return;
	}
	if (!one_in(10))
		attr_u32(NHA_OIF, device());
	if (one_in(5))
		put_address(NHA_GATEWAY, nhm.nh_family);
	put_encap(NHA_ENCAP_TYPE, NHA_ENCAP);
	if (one_in(30))
		attr(NHA_BLACKHOLE, NULL, 0);
}

/* Mostly the attributes that the command has: none, the device, mode and filter. */
static void put_genl(bool dump)
{
	struct genlmsghdr genl = { .cmd = one_in(10) ? below(256) : 1 + below(2), .version = 1 };
	int i;

	if (dump && one_in(2))
		genl.cmd = WGVIA_CMD_BINDING_GET;
	put(&genl, sizeof(genl));
	if (!dump && one_in(2))
		attr(WGVIA_A_DEVICE_IFNAME, "hub\0x", one_in(8) ? below(6) : 4);
	else if (!dump || (genl.cmd == WGVIA_CMD_BINDING_GET && one_in(2)))
		attr_u32(WGVIA_A_DEVICE_IFINDEX, device());
	if (genl.cmd == WGVIA_CMD_DEVICE_SET && !one_in(3))
		attr_u32(WGVIA_A_DEVICE_MODE, below(one_in(8) ? 5 : 3));
	if (genl.cmd == WGVIA_CMD_DEVICE_SET && !one_in(3))
		attr_u32(WGVIA_A_DEVICE_FILTER, below(one_in(8) ? 5 : 3));
	for (i = (int)below(8) - 5; i > 0; i--)
		attr_u32(one_in(2) ? rnd() : below(8), rnd());
}

static void damage(size_t start)
{
	int times = 1 + below(3);
	uint16_t value;

	while (times--) {
		size_t at = start + below(length - start);

		switch (below(4)) {
		case 0:
			message[at] ^= 1 << below(8);
			break;
		case 1:
			message[at] = rnd();
			break;
		case 2:
			/* Where lengths and types are. */
			at &= ~3UL;
			value = message[at] + below(9) - 4;
			memcpy(message + at, &value, sizeof(value));
			break;
		case 3:
			if (length > start + 4 && one_in(3))
				length = start + below(length - start) / 4 * 4 + 4;
			break;
		}
	}
}

static const char *const names[] = {
	"RTM_NEWROUTE", "RTM_DELROUTE", "RTM_NEWNEXTHOP", "RTM_DELNEXTHOP",
	"dumps", "wgvia", "wgvia-dumps",
};

#define KINDS (sizeof(names) / sizeof(names[0]))

static unsigned long sent[KINDS], good[KINDS];

static int make(uint16_t wgvia)
{
	static const uint16_t flags[] = {
		NLM_F_CREATE | NLM_F_EXCL, NLM_F_CREATE | NLM_F_REPLACE,
		NLM_F_CREATE | NLM_F_APPEND, NLM_F_REPLACE, NLM_F_CREATE,
	};
	static const unsigned char kinds[] = { 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 5, 6 };
	struct nlmsghdr head = { .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK };
	int kind = pick(kinds);

	length = sizeof(head);
	switch (kind) {
	case 0:
	case 1:
		head.nlmsg_type = kind ? RTM_DELROUTE : RTM_NEWROUTE;
		head.nlmsg_flags |= kind ? 0 : pick(flags);
		put_route();
		break;
	case 2:
	case 3:
		head.nlmsg_type = kind == 3 ? RTM_DELNEXTHOP : RTM_NEWNEXTHOP;
		head.nlmsg_flags |= kind == 3 ? 0 : pick(flags);
		put_nexthop(kind == 2);
		break;
	case 4:
		/* Seldom: each is long. */
		head.nlmsg_type = one_in(2) ? RTM_GETROUTE : RTM_GETNEXTHOP;
		head.nlmsg_flags |= NLM_F_DUMP;
		if (head.nlmsg_type == RTM_GETROUTE)
			put_route();
		else
			put_nexthop(false);
		break;
	default:
		head.nlmsg_type = wgvia;
		head.nlmsg_flags |= kind == 6 ? NLM_F_DUMP : 0;
		put_genl(kind == 6);
	}
	if (one_in(2))
		damage(sizeof(head));
	head.nlmsg_len = length;
	head.nlmsg_seq = kind + 1;
	memcpy(message, &head, sizeof(head));
	return kind;
}

static int open_netlink(int protocol)
{
	int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		die("netlink socket");
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	return fd;
}

/* Reads all answers; a dump goes on as its answers are read. */
static void drain(int fd)
{
	static unsigned char buffer[1 << 16];
	ssize_t len;

	while ((len = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0 || errno == ENOBUFS) {
		struct nlmsghdr *head;

		if (len <= 0)
			continue;
		for (head = (void *)buffer; NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
			unsigned int kind = head->nlmsg_seq - 1;
			int error = *(int *)NLMSG_DATA(head);

			if (kind < KINDS && !error && (head->nlmsg_type == NLMSG_ERROR ||
						       head->nlmsg_type == NLMSG_DONE))
				good[kind]++;
		}
	}
}

static uint16_t family_id(int fd)
{
	struct {
		struct nlmsghdr head;
		struct genlmsghdr genl;
		unsigned char attrs[4096];
	} answer;
	struct nlmsghdr head = { .nlmsg_type = GENL_ID_CTRL, .nlmsg_flags = NLM_F_REQUEST };
	struct genlmsghdr genl = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 };
	struct nlattr *a;
	ssize_t len;

	length = sizeof(head);
	put(&genl, sizeof(genl));
	attr(CTRL_ATTR_FAMILY_NAME, "wgvia", sizeof("wgvia"));
	head.nlmsg_len = length;
	memcpy(message, &head, sizeof(head));
	if (send(fd, message, length, 0) < 0)
		die("CTRL_CMD_GETFAMILY");
	len = recv(fd, &answer, sizeof(answer), 0) - sizeof(answer.head) - sizeof(answer.genl);
	for (a = (void *)answer.attrs; len >= (ssize_t)sizeof(*a) && a->nla_len >= sizeof(*a);
	     len -= NLA_ALIGN(a->nla_len), a = (void *)((char *)a + NLA_ALIGN(a->nla_len)))
		if (a->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)(a + 1);
	fprintf(stderr, "no family wgvia\n");
	exit(1);
}

/* --- coverage ------------------------------------------------------------ */

#define COVER_LEN (1 << 16)
#define PLACES (1 << 22)
#define CORPUS_LEN 8192

struct kept {
	uint32_t kind, length;
	unsigned char *message;
};

static uint64_t *cover;
static unsigned char seen[PLACES / 8];
static unsigned long places;
static struct kept corpus[CORPUS_LEN];
static uint32_t corpus_len;
static FILE *corpus_file;

static void cover_open(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	if (ioctl(fd, KCOV_INIT_TRACE, COVER_LEN))
		die("KCOV_INIT_TRACE");
	cover = mmap(NULL, COVER_LEN * sizeof(*cover), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (cover == MAP_FAILED)
		die("kcov");
	if (ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		die("KCOV_ENABLE");
}

static void cover_start(void)
{
	if (cover)
		__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
}

/* How many places were reached for the first time; two may be taken for one. */
static unsigned int cover_end(void)
{
	uint64_t i, n = cover ? __atomic_load_n(&cover[0], __ATOMIC_RELAXED) : 0;
	unsigned int found = 0;

	for (i = 1; i <= n; i++) {
		uint32_t place = (cover[i] * 0x9e3779b97f4a7c15ULL) >> 42;

		if (seen[place / 8] & 1 << place % 8)
			continue;
		seen[place / 8] |= 1 << place % 8;
		found++;
	}
	places += found;
	return found;
}

static void keep(uint32_t kind, const void *data, uint32_t len)
{
	struct kept *kept = &corpus[corpus_len];

	if (corpus_len == CORPUS_LEN || kind >= KINDS || len < sizeof(struct nlmsghdr) ||
	    len > SPACE)
		return;
	kept->message = malloc(len);
	if (!kept->message)
		die("malloc");
	kept->kind = kind;
	kept->length = len;
	memcpy(kept->message, data, len);
	corpus_len++;
}

static void corpus_open(const char *name)
{
	static unsigned char data[SPACE];
	uint32_t head[2];

	corpus_file = fopen(name, "a+");
	if (!corpus_file)
		die(name);
	rewind(corpus_file);
	while (fread(head, sizeof(head), 1, corpus_file) == 1 && head[1] <= SPACE &&
	       fread(data, head[1], 1, corpus_file) == 1)
		keep(head[0], data, head[1]);
}

static void keep_message(uint32_t kind)
{
	uint32_t head[2] = { kind, length };

	keep(kind, message, length);
	if (corpus_file && (fwrite(head, sizeof(head), 1, corpus_file) != 1 ||
			    fwrite(message, length, 1, corpus_file) != 1))
		die("corpus");
}

/* A message that was kept, damaged or as it was */
static int make_again(const struct kept *kept, uint16_t wgvia, bool damaged)
{
	struct nlmsghdr head;

	memcpy(message, kept->message, kept->length);
	length = kept->length;
	if (damaged)
		damage(one_in(4) ? offsetof(struct nlmsghdr, nlmsg_flags) : sizeof(head));
	memcpy(&head, message, sizeof(head));
	/* The family gets another number with each boot. */
	head.nlmsg_type = kept->kind < 5 ? ((struct nlmsghdr *)kept->message)->nlmsg_type : wgvia;
	head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	head.nlmsg_len = length;
	head.nlmsg_seq = kept->kind + 1;
	memcpy(message, &head, sizeof(head));
	return kept->kind;
}

static int route, genl;

/* Does the message reach a new place? */
static bool send_message(int kind)
{
	int fd = kind < 5 ? route : genl;

	cover_start();
	if (send(fd, message, length, 0) < 0 && errno != ENOBUFS)
		die("send");
	sent[kind]++;
	drain(fd);
	return cover_end();
}

static void fuzz_netlink(unsigned long count, const char *hub, const char *other)
{
	uint32_t loaded = corpus_len, k;
	uint16_t wgvia;
	unsigned long i;

	route = open_netlink(NETLINK_ROUTE);
	genl = open_netlink(NETLINK_GENERIC);
	wgvia = family_id(genl);
	devices[0] = if_nametoindex(hub);
	devices[1] = if_nametoindex(other);
	devices[2] = if_nametoindex("lo");
	devices[3] = 9999;
	/* Those that reach nothing new any more are left out this time. */
	corpus_len = 0;
	for (k = 0; k < loaded; k++)
		if (send_message(make_again(&corpus[k], wgvia, false)) || !cover)
			corpus[corpus_len++] = corpus[k];
	for (i = 0; i < count; i++) {
		int kind = corpus_len && one_in(3) ?
			   make_again(&corpus[below(corpus_len)], wgvia, true) : make(wgvia);

		if (send_message(kind))
			keep_message(kind);
	}
	if (cover)
		printf("# coverage: %lu places, %u messages kept\n", places, corpus_len);
	for (k = 0; k < KINDS; k++)
		printf("# %s: %lu sent, %lu succeeded\n", names[k], sent[k], good[k]);
}

/* --- packets ------------------------------------------------------------- */

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
	unsigned long count;

	if (argc < 5) {
		fprintf(stderr, "usage: fuzz netlink COUNT SEED HUB OTHER [CORPUS]\n"
				"       fuzz packets COUNT SEED DEVICE\n");
		return 2;
	}
	count = strtoul(argv[2], NULL, 0);
	/* Zero would give zeros for ever. */
	state = strtoull(argv[3], NULL, 0) * 2 + 1;
	if (!strcmp(argv[1], "netlink") && argc >= 6) {
		cover_open();
		if (argc > 6)
			corpus_open(argv[6]);
		fuzz_netlink(count, argv[4], argv[5]);
		if (corpus_file && fclose(corpus_file))
			die("corpus");
	} else {
		fuzz_packets(count, argv[4]);
	}
	return 0;
}
