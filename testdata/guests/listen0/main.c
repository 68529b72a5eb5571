/* listen0 — asks twice for a port of the system's choice, tells the master both addresses, and answers "wN" to who
 * connects to either. All workers' first calls get one port and their second calls another. Exits 0 when asked to
 * finish. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../guests/sdk/c/wcluster.h"

#define ANY_PORT "tcp://127.0.0.1:0"

enum { LISTENER, INBOX };

static void check(const char *what, wcluster_errno e)
{
	if (e == 0)
		return;
	errno = e;
	perror(what);
	exit(1);
}

static void listen_and_tell(void)
{
	int32_t fd;
	char address[128];
	uint32_t len;
	check("listen", wcluster_listen(ANY_PORT, sizeof ANY_PORT - 1, 0, 0, &fd));
	check("local_address", wcluster_local_address(fd, address, sizeof address, &len));
	check("send", wcluster_send(0, address, len, -1));
	check("watch", wcluster_watch(fd, WCLUSTER_READ, LISTENER));
}

static void answer(int listener)
{
	struct sockaddr_storage peer; /* wasi-libc's accept4 writes there even if it is NULL */
	socklen_t peer_len = sizeof peer;
	char line[16];
	int fd = accept4(listener, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK);
	if (fd < 0)
		return; /* another worker was faster */
	int len = snprintf(line, sizeof line, "w%u\n", (unsigned)wcluster_worker_id());
	if (write(fd, line, (size_t)len) != len)
		perror("write");
	close(fd);
}

static bool asked_to_finish(void)
{
	char body[1024];
	wcluster_record record = {0};
	return wcluster_receive(body, sizeof body, &record) == 0 && record.kind == WCLUSTER_RECORD_DISCONNECT;
}

int main(void)
{
	int32_t inbox;
	check("inbox", wcluster_inbox(&inbox));
	check("watch", wcluster_watch(inbox, WCLUSTER_READ, INBOX));
	listen_and_tell();
	listen_and_tell();
	for (;;) {
		wcluster_event event;
		uint32_t n = 0;
		check("wait", wcluster_wait(&event, 1, -1, &n));
		if (n == 1 && event.token == LISTENER)
			answer(event.fd);
		if (n == 1 && event.token == INBOX && asked_to_finish())
			return 0;
	}
}
