/* roles — plays both. The master forks as many workers as its first argument says and tells each "hi there" once it is
 * online; a worker sends back what it was told, and a word that the fork put into its environment. When all have answered
 * the master disconnects the cluster, or stays if it has a second argument. It writes a line for each event, and "count N" for the workers left at the end. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../guests/sdk/c/wcluster.h"

#define TEXT_MAX 4096

static void fail(const char *what, wcluster_errno e)
{
	errno = e;
	perror(what);
	exit(1);
}

static uint32_t expected, answered;
static int stays;
static char text[TEXT_MAX], told[TEXT_MAX];

static void must(const char *what, wcluster_errno e)
{
	if (e != 0)
		fail(what, e);
}

static const char *const names[] = {"setup", "fork", "online", "listening", "disconnecting", "disconnect", "exit", "death"};

static void on_event(void *context, uint32_t kind, uint32_t from, const void *data, uint32_t len)
{
	(void)context;
	const char *name = names[kind - WCLUSTER_RECORD_SETUP];
	if (kind == WCLUSTER_RECORD_EXIT) {
		const wcluster_exit *end = data;
		printf("%u %s %d %u %u %.*s\n", from, name, end->code, end->signal, end->suicide, (int)(len - sizeof *end),
		       (const char *)(end + 1));
	} else {
		printf("%u %s\n", from, name);
	}
	if (kind == WCLUSTER_RECORD_ONLINE)
		must("send", wcluster_send((int32_t)from, "hi there", 8, -1));
}

static void on_message(void *context, uint32_t from, const void *data, uint32_t len, int32_t fd)
{
	(void)context;
	(void)fd;
	printf("%u says %.*s\n", from, (int)len, (const char *)data);
	if (wcluster_dispatch(0) != EBUSY)
		fail("dispatch in a callback", 0);
	if (++answered == expected && !stays)
		must("disconnect", wcluster_disconnect(-1));
}

static int master(void)
{
	uint32_t n;
	must("on_event", wcluster_on_event(on_event, NULL, told, sizeof told));
	must("on_message", wcluster_on_message(on_message, NULL, text, sizeof text));
	for (uint32_t i = 0; i < expected; i++) {
		static const char env[] = "WORD=salt";
		uint32_t id;
		must("fork", wcluster_fork(env, sizeof env, &id));
		wcluster_info info;
		must("worker_info", wcluster_worker_info(id, &info));
		if (info.id != i + 1 || info.state != 0 || info.pid == 0 || info.suicide != 0)
			fail("worker_info", EINVAL);
	}
	wcluster_errno e = wcluster_dispatch(-1);
	if (e != ECANCELED)
		fail("dispatch", e);
	must("workers", wcluster_workers(NULL, 0, &n));
	printf("count %u\n", n);
	return 7;
}

static void on_order(void *context, uint32_t from, const void *data, uint32_t len, int32_t fd)
{
	(void)context;
	(void)from;
	(void)fd;
	uint32_t id;
	if (wcluster_fork(NULL, 0, &id) != EPERM || wcluster_kill(1, 9) != EPERM)
		fail("fork in a worker", 0);
	int n = snprintf(told, sizeof told, "%.*s, %s", (int)len, (const char *)data, getenv("WORD"));
	must("send", wcluster_send(0, told, (uint32_t)n, -1));
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0); /* each line as it is written: it may be waited for */
	expected = argc > 1 ? (uint32_t)atoi(argv[1]) : 2;
	stays = argc > 2;
	if (wcluster_worker_id() == 0)
		return master();
	must("on_message", wcluster_on_message(on_order, NULL, text, sizeof text));
	return wcluster_dispatch(-1) == ECANCELED ? 0 : 1;
}
