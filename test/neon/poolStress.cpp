// The thread pool alone, without any program: very many launches of very small grids, some one behind the other and some
// after a rest in which the helpers fall asleep. Every point must run exactly once, see what the launch before it wrote,
// and be seen by the caller. Prints the number of points; a sanitizer does the rest of the judging.
//
//   poolStress THREADS LAUNCHES
#include <stdio.h>
#include <stdlib.h>

#include "heddle_pool.h"

namespace {

constexpr int64_t most = 1000;

// What a point finds and leaves: written and read without any atomic operation.
struct Points {
  int64_t turns[most];
};

void step(const int32_t* sizes, void* const* args, unsigned char* scratch, int64_t begin, int64_t end) {
  Points& points = *static_cast<Points*>(args[0]);
  // The memory of one thread: whoever shared it would race.
  int64_t* const own = reinterpret_cast<int64_t*>(scratch);
  for (int64_t point = begin; point < end; point++) {
    *own = points.turns[point];
    points.turns[point] = *own + sizes[0];
  }
}

int64_t grid_of(int64_t launch) {
  const int64_t grids[] = {2, 3, 7, 8, 63, 64, 65, 1, most};
  return grids[launch % 9];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int32_t threads = static_cast<int32_t>(strtol(argv[1], nullptr, 10));
  const int64_t launches = strtoll(argv[2], nullptr, 10);
  static heddle::Pool pool;
  static Points points;
  alignas(64) static unsigned char scratch[64 * HEDDLE_MOST_THREADS];
  pool.threads = threads;
  pool.scratch = scratch;
  pool.scratch_stride = 64;
  for (int32_t helper = 1; helper < threads; helper++) {
    if (pthread_create(&pool.handles[helper], nullptr, heddle::helper_main, &pool) != 0) return 3;
  }
  static int64_t expected[most];
  int64_t ran = 0;
  for (int64_t launch = 0; launch < launches; launch++) {
    const int64_t grid = grid_of(launch);
    const int32_t sizes[] = {static_cast<int32_t>(1 + launch % 5)};
    void* const args[] = {&points};
    heddle::run_grid(pool, {step, sizes, args, 0, grid, 1});
    for (int64_t point = 0; point < most; point++) {
      expected[point] += point < grid ? sizes[0] : 0;
      if (points.turns[point] != expected[point]) {
        fprintf(stderr, "launch %lld: point %lld is wrong\n", static_cast<long long>(launch), static_cast<long long>(point));
        return 1;
      }
    }
    ran += grid;
    // Long enough that helpers give up looking, every now and then.
    if (launch % 64 == 63) {
      const struct timespec rest = {0, 200000};
      nanosleep(&rest, nullptr);
    }
  }
  heddle::stop_pool(pool, threads);
  printf("%lld\n", static_cast<long long>(ran));
  return 0;
}
