// SPDX-License-Identifier: GPL-2.0
/* Which code of the kernel a message reaches, where it has KCOV. */

#include <fcntl.h>
#include <linux/kcov.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "netlink.h"

#define COVER_LEN (1 << 16)
#define PLACES (1 << 22)
static uint64_t *cover;
static unsigned char seen[PLACES / 8];
unsigned long places;

/* Whether the kernel can tell */
bool cover_open(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (ioctl(fd, KCOV_INIT_TRACE, COVER_LEN))
		die("KCOV_INIT_TRACE");
	cover = mmap(NULL, COVER_LEN * sizeof(*cover), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (cover == MAP_FAILED)
		die("kcov");
	if (ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		die("KCOV_ENABLE");
	return true;
}

void cover_start(void)
{
	if (cover)
		__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
}

/* How many places were reached for the first time; two may be taken for one. */
unsigned int cover_end(void)
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
