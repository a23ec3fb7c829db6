// launch.c: a ClickHouse server out of the library that npm carries. The library's C entry point takes a command line as
// clickhouse-local does; everything else is in the arguments that tests/clickhouse/serve passes. Never linked into meterd.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

// The library's result, version 2.
struct result {
  char *text;
  size_t length;
  void *memory;
  double seconds;
  unsigned long rows, bytes;
  char *error;
};

typedef struct result *query_fn(int, char **);

int main(int argc, char **argv) {
  const char *path = getenv("LIBCHDB");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  query_fn *query = library ? (query_fn *)dlsym(library, "query_stable_v2") : NULL;
  if (!query) {
    fprintf(stderr, "launch: LIBCHDB names no usable library: %s\n", path ? dlerror() : "it is not set");
    return 2;
  }
  struct result *result = query(argc, argv);
  if (result && result->error) fprintf(stderr, "launch: %s\n", result->error);
  return result && !result->error ? 0 : 1;
}
