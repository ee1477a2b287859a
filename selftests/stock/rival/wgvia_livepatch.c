// SPDX-License-Identifier: GPL-2.0
/* A livepatch of a function that wgvia replaces on a stock kernel */

#include <linux/livepatch.h>
#include <linux/module.h>

static void *lookup_dst(void *table, void *skb)
{
	return NULL;
}

static struct klp_func funcs[] = {
	{ .old_name = "wg_allowedips_lookup_dst", .new_func = lookup_dst },
	{}
};

static struct klp_object objs[] = {
	{ .name = "wireguard", .funcs = funcs },
	{}
};

static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objs };

static int __init livepatch_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit livepatch_exit(void)
{
}

module_init(livepatch_init);
module_exit(livepatch_exit);
MODULE_DESCRIPTION("Patches what wgvia replaces");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
