/* SPDX-License-Identifier: GPL-2.0 */
/* The netlink messages of fuzz.c: how they are made, kept and counted. */

#ifndef _FUZZ_NETLINK_H
#define _FUZZ_NETLINK_H

#include <linux/netlink.h>

#include "fuzz.h"

enum protocol { ROUTE, WGVIA };

/*
 * The kind of a message, as it is sent, and what counts it. Of "other" none can
 * succeed; of all others some have to.
 */
enum kind {
	NEWROUTE, DELROUTE, GETROUTE, DUMP_ROUTES,
	NEWNEXTHOP, NEWRESILIENT, DELNEXTHOP, GETNEXTHOP, DUMP_NEXTHOPS, DUMP_BUCKETS,
	DEVICE_GET, DEVICE_SET, DUMP_DEVICES, DUMP_BINDINGS, DUMP_PEERS,
	DEFAULT_GET, DEFAULT_SET, RESOLVE, OTHER,
	KINDS
};

/* kind.c */
extern const char *const names[KINDS];
struct nlmsghdr head_of_message(void);
enum kind kind_of(enum protocol protocol);

/* make.c */
extern uint32_t devices[4];
/* The number of the family, which is another with each boot */
extern uint16_t wgvia;
/* The type of lightweight tunnel of the corpus, and the one by which routes name peers here */
#define LWTUNNEL_ENCAP_WGPEER 64
extern uint16_t encap_wgpeer;
void attr(uint16_t type, const void *data, size_t len);
enum protocol make(void);

/* corpus.c */
struct kept {
	enum protocol protocol;
	uint32_t length;
	unsigned char *message;
};

#define CORPUS_LEN 8192

extern struct kept corpus[CORPUS_LEN];
extern uint32_t corpus_len;
void keep(enum protocol protocol);
void load(FILE *file, const char *name, bool whole);
void write_down(FILE *file, enum protocol protocol);
bool has_new_shape(enum protocol protocol);
enum protocol make_again(const struct kept *kept, bool damaged);

/* make.c, for copies too */
void damage(size_t start);
void finish(struct nlmsghdr head, enum protocol protocol);

/* coverage.c */
extern unsigned long places;
bool cover_open(void);
void cover_start(void);
unsigned int cover_end(void);

#endif /* _FUZZ_NETLINK_H */
