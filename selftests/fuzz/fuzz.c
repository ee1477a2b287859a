// SPDX-License-Identifier: GPL-2.0
/*
 * Send netlink messages that are nearly right.
 *
 *	fuzz COUNT SEED HUB OTHER CORPUS [KEPT]
 *
 * Routes, nexthop objects and the generic netlink family of wgvia, for the
 * WireGuard device HUB and the device OTHER, which is of another kind. Every value
 * is taken from a small pool, so that messages refer to what earlier ones made;
 * then one message in two is damaged, and one in three is a damaged copy of one in
 * the file CORPUS, which are sent first, as they are.
 *
 * With the file KEPT, messages are kept there for other runs, and used like those
 * of CORPUS. Where the kernel has KCOV, they are those that reach code which none
 * has reached before, elsewhere those that succeed and whose attributes no other
 * had in that order.
 *
 * The same seed gives the same messages, without KEPT.
 */

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink.h"

struct tally {
	unsigned long sent, succeeded;
};

/* Of those that are made here, and of copies of others: those would succeed anyway. */
static struct tally made[KINDS], copies;

/* By protocol, and one for routes whose questions are checked strictly. */
static int fds[2], strict_fd;

static int open_netlink(int protocol)
{
	int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		die("netlink socket");
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	return fd;
}

/*
 * Reads all answers; a dump goes on as they are read. Has the message that was sent
 * last succeeded? A dump that says nothing has not.
 */
static bool drain(int fd, bool dump)
{
	static unsigned char buffer[1 << 16];
	uint32_t seq = head_of_message().nlmsg_seq;
	bool succeeded = false;
	unsigned int answers = 0;
	ssize_t len;

	while ((len = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0 || errno == ENOBUFS) {
		struct nlmsghdr *head;

		if (len <= 0)
			continue;
		for (head = (void *)buffer; NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
			if (head->nlmsg_seq != seq)
				continue;
			if (head->nlmsg_type != NLMSG_ERROR && head->nlmsg_type != NLMSG_DONE)
				answers++;
			else if (!*(int *)NLMSG_DATA(head))
				succeeded = answers || !dump;
		}
	}
	return succeeded;
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

/* Without the patches the module says which type it has. */
static uint16_t encap_type(void)
{
	FILE *file = fopen("/sys/module/wgvia/parameters/encap_type", "r");
	uint16_t type = LWTUNNEL_ENCAP_WGPEER;

	if (!file)
		return type;
	if (fscanf(file, "%hu", &type) != 1)
		die("encap_type");
	fclose(file);
	return type;
}

static void load_corpus(const char *name)
{
	FILE *file = fopen(name, "r");

	if (!file)
		die(name);
	load(file, name, true);
	fclose(file);
}

/* --- the run ------------------------------------------------------------- */

static bool succeeded, is_new, has_cover;
static FILE *kept_file;

static void send_message(int fd, enum protocol protocol)
{
	cover_start();
	if (send(fd, message, length, 0) < 0 && errno != ENOBUFS)
		die("send");
	succeeded = drain(fd, strstr(names[kind_of(protocol)], "-dump"));
	is_new = cover_end();
	if (!has_cover)
		is_new = kept_file && succeeded && has_new_shape(protocol);
}

static void replay_one(const struct kept *kept)
{
	enum protocol protocol = make_again(kept, false);

	send_message(fds[protocol], protocol);
}

/* All of CORPUS, in its order, then KEPT. */
static void replay(const char *name, const char *kept_name)
{
	uint32_t loaded, k, done = 0;

	load_corpus(name);
	for (k = 0; k < corpus_len; k++) {
		replay_one(&corpus[k]);
		if (!succeeded)
			printf("# message %u of the corpus fails\n", k + 1);
		done += succeeded;
	}
	printf("# corpus: %u messages, %u succeeded\n", corpus_len, done);
	if (!kept_name)
		return;

	kept_file = fopen(kept_name, "a+");
	if (!kept_file)
		die(kept_name);
	rewind(kept_file);
	load(kept_file, kept_name, false);
	/* Those that reach nothing new any more are left out this time. */
	loaded = corpus_len;
	corpus_len = k;
	for (; k < loaded; k++) {
		replay_one(&corpus[k]);
		if (is_new || !has_cover)
			corpus[corpus_len++] = corpus[k];
	}
}

static void fuzz(unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++) {
		bool copy = corpus_len && one_in(3);
		enum protocol protocol = copy ? make_again(&corpus[below(corpus_len)], true) : make();
		bool strict = protocol == ROUTE && one_in(2);
		struct tally *tally = copy ? &copies : &made[kind_of(protocol)];

		send_message(strict ? strict_fd : fds[protocol], protocol);
		tally->sent++;
		tally->succeeded += succeeded;
		if (!is_new)
			continue;
		keep(protocol);
		if (kept_file)
			write_down(kept_file, protocol);
	}
}

int main(int argc, char **argv)
{
	int kind;

	if (argc < 6) {
		fprintf(stderr, "usage: fuzz COUNT SEED HUB OTHER CORPUS [KEPT]\n");
		return 2;
	}
	seed(argv[2]);
	fds[ROUTE] = open_netlink(NETLINK_ROUTE);
	fds[WGVIA] = open_netlink(NETLINK_GENERIC);
	strict_fd = open_netlink(NETLINK_ROUTE);
	if (setsockopt(strict_fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &(int){ 1 }, sizeof(int)))
		die("NETLINK_GET_STRICT_CHK");
	wgvia = family_id(fds[WGVIA]);
	encap_wgpeer = encap_type();
	devices[0] = if_nametoindex(argv[3]);
	devices[1] = if_nametoindex(argv[4]);
	devices[2] = if_nametoindex("lo");
	devices[3] = 9999;
	has_cover = cover_open();
	replay(argv[5], argv[6]);
	fuzz(strtoul(argv[1], NULL, 0));
	if (kept_file && fclose(kept_file))
		die("KEPT");
	if (has_cover)
		printf("# coverage: %lu places, %u messages kept\n", places, corpus_len);
	for (kind = 0; kind < KINDS; kind++)
		printf("# %s: %lu sent, %lu succeeded\n", names[kind], made[kind].sent,
		       made[kind].succeeded);
	printf("# copies: %lu sent, %lu succeeded\n", copies.sent, copies.succeeded);
	return 0;
}
