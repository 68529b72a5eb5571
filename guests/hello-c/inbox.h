/* inbox.h — what the master sends: watched like any descriptor, read until it is empty. */
#ifndef INBOX_H
#define INBOX_H

#include <stdbool.h>

#include "loop.h"

/* The token under which the inbox is reported. LOOP_WRITE on it means that the outbox has room. */
#define INBOX_TOKEN LOOP_OWN

/* Opens the inbox and watches it for reading; false with errno. */
bool inbox_open(void);

/* Also reports room in the outbox, or no longer. */
void inbox_want_room(bool want);

/* Takes all records and drops the messages among them: nothing here expects any. Returns true when the master
 * asked this worker to finish. */
bool inbox_take(void);

#endif
