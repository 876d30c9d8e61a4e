/* A Pit component in plain C: a counter whose value survives the process.
 *
 *     cc -shared -fPIC -pthread -I pit/include -o counter.so pit/examples/counter_c/counter.c
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "symphony_pit.h"

enum { KIND_ADDED = 1, REVISION = 1 };

typedef struct counter {
  const symphony_host *host;
  pthread_mutex_t lock;
  int64_t value;
} counter;

static symphony_value integer(int64_t number) {
  symphony_value value = {.tag = SYMPHONY_INT, .data = {.integer = number}};
  return value;
}

/* An error whose message is static: two values, the message and an empty context. */
static uint32_t fail(symphony_returned *out, uint32_t status, const char *message) {
  symphony_value *parts = calloc(2, sizeof *parts);
  memset(out, 0, sizeof *out);
  if (parts == NULL) return status; /* the host has a message of its own for this */
  parts[0].tag = SYMPHONY_TEXT;
  parts[0].data.span.ptr = message;
  parts[0].data.span.len = strlen(message);
  parts[1].tag = SYMPHONY_MAP;
  out->value.tag = SYMPHONY_ERROR;
  out->value.data.span.ptr = parts;
  out->value.data.span.len = 2;
  out->owner = parts;
  out->release = free;
  return status;
}

/* ---- methods */

static uint32_t ping(const void *instance, const symphony_value *args, size_t count, symphony_returned *out) {
  (void)instance, (void)args, (void)count;
  memset(out, 0, sizeof *out);
  return SYMPHONY_OK;
}

static uint32_t value(const void *instance, const symphony_value *args, size_t count, symphony_returned *out) {
  counter *self = (counter *)instance;
  (void)args, (void)count;
  memset(out, 0, sizeof *out);
  pthread_mutex_lock(&self->lock);
  out->value = integer(self->value);
  pthread_mutex_unlock(&self->lock);
  return SYMPHONY_OK;
}

static uint32_t stats(const void *instance, const symphony_value *args, size_t count, symphony_returned *out) {
  symphony_value *pair = calloc(2, sizeof *pair);
  if (pair == NULL) return fail(out, SYMPHONY_EXHAUSTED, "no memory");
  uint32_t status = value(instance, args, count, out);
  pair[0].tag = SYMPHONY_TEXT;
  pair[0].data.span.ptr = "value";
  pair[0].data.span.len = 5;
  pair[1] = out->value;
  out->value.tag = SYMPHONY_MAP;
  out->value.data.span.ptr = pair;
  out->value.data.span.len = 1;
  out->owner = pair;
  out->release = free;
  return status;
}

/* The record first, under the lock; the change is made once it is there. */
static uint32_t add(const void *instance, const symphony_value *args, size_t count, symphony_returned *out) {
  counter *self = (counter *)instance;
  const symphony_host *host = self->host;
  (void)count;
  if (args[0].tag != SYMPHONY_INT) return fail(out, SYMPHONY_INVALID_ARGUMENT, "amount: expected int");
  int64_t amount = args[0].data.integer, sum = 0;
  memset(out, 0, sizeof *out);
  pthread_mutex_lock(&self->lock);
  if (__builtin_add_overflow(self->value, amount, &sum)) {
    pthread_mutex_unlock(&self->lock);
    return fail(out, SYMPHONY_EXHAUSTED, "the counter would overflow");
  }
  int64_t position = host->append(host->context, KIND_ADDED, REVISION, host->now(host->context),
                                  (const uint8_t *)&amount, sizeof amount);
  if (position >= 0) self->value = sum;
  pthread_mutex_unlock(&self->lock);
  if (position < 0) return fail(out, SYMPHONY_IO, "the log could not be extended");
  out->value = integer(sum);
  return SYMPHONY_OK;
}

static const symphony_param ADD_PARAMS[] = {
    {SYMPHONY_STR("amount"), SYMPHONY_STR("int"), SYMPHONY_STR("1")},
};

static const symphony_method METHODS[] = {
    {sizeof(symphony_method), SYMPHONY_FAST, SYMPHONY_STR("ping"), NULL, 0, SYMPHONY_STR("None"),
     SYMPHONY_STR("Do nothing: shows that the component answers."), ping},
    {sizeof(symphony_method), SYMPHONY_FAST, SYMPHONY_STR("stats"), NULL, 0, SYMPHONY_STR("dict[str, int]"),
     SYMPHONY_STR("Counters: value."), stats},
    {sizeof(symphony_method), SYMPHONY_FAST, SYMPHONY_STR("value"), NULL, 0, SYMPHONY_STR("int"),
     SYMPHONY_STR("The sum of what was added."), value},
    {sizeof(symphony_method), SYMPHONY_FAST, SYMPHONY_STR("add"), ADD_PARAMS, 1, SYMPHONY_STR("int"),
     SYMPHONY_STR("Add to the counter; gives the new value."), add},
};

/* ---- life */

static void *create(const symphony_host *host, symphony_returned *out) {
  counter *self = calloc(1, sizeof *self);
  if (self == NULL) {
    fail(out, SYMPHONY_EXHAUSTED, "no memory");
    return NULL;
  }
  self->host = host;
  pthread_mutex_init(&self->lock, NULL);
  return self;
}

static uint32_t replay(const void *instance, const symphony_record *record, symphony_returned *out) {
  counter *self = (counter *)instance;
  int64_t amount;
  if (record->kind != KIND_ADDED || record->len != sizeof amount)
    return fail(out, SYMPHONY_CORRUPT, "a record of another kind or length");
  memcpy(&amount, record->payload, sizeof amount);
  self->value += amount;
  memset(out, 0, sizeof *out);
  return SYMPHONY_OK;
}

static uint32_t restore(const void *instance, const uint8_t *bytes, size_t len, symphony_returned *out) {
  counter *self = (counter *)instance;
  if (len != sizeof self->value) return fail(out, SYMPHONY_CORRUPT, "a snapshot of another length");
  memcpy(&self->value, bytes, len);
  memset(out, 0, sizeof *out);
  return SYMPHONY_OK;
}

static uint32_t snapshot(const void *instance, symphony_returned *out) {
  const counter *self = instance;
  memset(out, 0, sizeof *out);
  out->value.tag = SYMPHONY_BYTES;
  out->value.data.span.ptr = &self->value; /* lives as long as the instance */
  out->value.data.span.len = sizeof self->value;
  return SYMPHONY_OK;
}

static void destroy(void *instance) {
  counter *self = instance;
  pthread_mutex_destroy(&self->lock);
  free(self);
}

const symphony_entry symphony_pit_entry_v1 = {
    .magic = SYMPHONY_PIT_MAGIC,
    .size = sizeof(symphony_entry),
    .abi_major = SYMPHONY_PIT_ABI_MAJOR,
    .abi_minor = SYMPHONY_PIT_ABI_MINOR,
    .id = SYMPHONY_STR("acme.counter_c"),
    .version = SYMPHONY_STR("1.0.0"),
    .description = SYMPHONY_STR("A counter, written in C"),
    .methods = METHODS,
    .method_count = sizeof METHODS / sizeof *METHODS,
    .revision = REVISION,
    .create = create,
    .restore = restore,
    .replay = replay,
    .snapshot = snapshot,
    .destroy = destroy,
};
