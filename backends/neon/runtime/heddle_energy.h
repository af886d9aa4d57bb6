// Joules that the machine used, from what counts them: the processor's own counters (powercap), or else the batteries
// while they discharge. What neither covers is counted as time without a measurement. No allocation. Knows no policy.
#ifndef HEDDLE_ENERGY_H
#define HEDDLE_ENERGY_H

#include "heddle_sensors.h"

namespace heddle {

enum class MeasuredBy { nothing, powercap, battery, both };

struct Energy {
  double joules = 0;
  double unmeasured = 0;  // milliseconds
  MeasuredBy by = MeasuredBy::nothing;
};

class EnergyMeter {
 public:
  // Adds what was used since the sample before. `readings` were taken now, in milliseconds.
  void sample(const char* root, const Readings& readings, double now) {
    const double passed = now - sampled_at_;
    double processor = 0;
    const bool counted = read_counters(root, &processor);
    if (sampled_ && passed > 0) {
      double battery = 0;
      if (counted) {
        add(processor, MeasuredBy::powercap);
      } else if (battery_gave(readings, passed, &battery)) {
        add(battery, MeasuredBy::battery);
      } else {
        energy_.unmeasured += passed;
      }
    }
    sampled_ = true;
    sampled_at_ = now;
    power_ = readings.battery_power;
    stored_ = readings.battery_stored;
  }

  const Energy& energy() const { return energy_; }

 private:
  static constexpr int32_t most_counters = 16;

  struct Counter {
    char name[32];
    int64_t microjoules;
    bool fresh;
  };

  void add(double joules, MeasuredBy by) {
    energy_.joules += joules;
    energy_.by = energy_.by == MeasuredBy::nothing || energy_.by == by ? by : MeasuredBy::both;
  }

  // Power at both ends of the interval, or else what the gauges lost; these move in steps of many joules.
  bool battery_gave(const Readings& readings, double passed, double* joules) const {
    if (power_ >= 0 && readings.battery_power >= 0) {
      *joules = (static_cast<double>(power_) + static_cast<double>(readings.battery_power)) / 2e6 * passed / 1000.0;
      return true;
    }
    if (stored_ < 0 || readings.battery_stored < 0 || readings.battery_stored > stored_) return false;
    *joules = static_cast<double>(stored_ - readings.battery_stored) / 1e6;
    return true;
  }

  // Whole packages only: their parts are within them, and other interfaces count the same energy again. False unless
  // every package was there before and is now.
  bool read_counters(const char* root, double* joules) {
    Directory zones((Path(root) << "/sys/class/powercap").name());
    for (Counter& counter : counters_) counter.fresh = false;
    int32_t known = 0;
    bool complete = true;
    while (const char* zone = zones.next()) {
      if (!is_package(root, zone)) continue;
      Path path(root);
      const Figure now = read_number((path << "/sys/class/powercap/" << zone << "/energy_uj").name(), 0, INT64_MAX);
      Counter* counter = now.known() ? counter_of(zone) : nullptr;
      if (counter == nullptr) {
        complete = false;
        continue;
      }
      known++;
      const int64_t used = now.value - counter->microjoules;
      if (counter->microjoules < 0) {
        complete = false;
      } else if (used >= 0) {
        *joules += static_cast<double>(used) / 1e6;
      } else {
        Path range(root);
        const Figure most =
            read_number((range << "/sys/class/powercap/" << zone << "/max_energy_range_uj").name(), 1, INT64_MAX);
        // Begun again from zero, once: looks are far closer than the minutes that takes.
        if (!most.known() || counter->microjoules > most.value) complete = false;
        else *joules += static_cast<double>(most.value - counter->microjoules + now.value) / 1e6;
      }
      counter->microjoules = now.value;
      counter->fresh = true;
    }
    for (Counter& counter : counters_) {
      if (counter.name[0] == 0 || counter.fresh) continue;
      complete = false;
      counter.name[0] = 0;
    }
    return complete && known > 0;
  }

  // intel-rapl:N (AMD's processors go by that name too) whose own name begins with "package".
  static bool is_package(const char* root, const char* zone) {
    if (!starts_with(zone, "intel-rapl:") || strlen(zone) >= sizeof(Counter::name)) return false;
    if (strchr(zone + strlen("intel-rapl:"), ':') != nullptr) return false;
    char name[64];
    Path path(root);
    const Found found = read_word((path << "/sys/class/powercap/" << zone << "/name").name(), name, sizeof name);
    return found == Found::known && starts_with(name, "package");
  }

  // The counter of a zone; a new one has counted nothing, which is −1. Null when there are too many.
  Counter* counter_of(const char* zone) {
    Counter* free = nullptr;
    for (Counter& counter : counters_) {
      if (counter.name[0] == 0) free = free == nullptr ? &counter : free;
      else if (same_text(counter.name, zone)) return &counter;
    }
    if (free == nullptr) return nullptr;
    Text(free->name, sizeof free->name) << zone;
    free->microjoules = -1;
    return free;
  }

  Energy energy_;
  Counter counters_[most_counters] = {};
  bool sampled_ = false;
  double sampled_at_ = 0;
  int64_t power_ = -1;
  int64_t stored_ = -1;
};

}  // namespace heddle

#endif
