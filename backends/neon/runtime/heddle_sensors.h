// What the operating system says in small files about battery, charger, temperature, other processes and energy, under a
// root that tests may fake. Whatever lies there is hostile: a figure is known, or there but unreadable, or absent. No
// allocation. Knows no policy and no program.
#ifndef HEDDLE_SENSORS_H
#define HEDDLE_SENSORS_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "heddle_platform.h"
#include "heddle_text.h"

namespace heddle {

// Absent: the machine has no such thing. Unreadable: it has, and what it says cannot be understood or may not be read.
enum class Found { absent, unreadable, known };

struct Figure {
  Found found = Found::absent;
  int64_t value = 0;

  bool known() const { return found == Found::known; }
};

struct Readings {
  Figure battery;      // thousandths of full, over all batteries of the machine
  Figure charging;     // 1: power comes from outside
  Figure temperature;  // thousandths of a degree Celsius, of the hottest zone that counts
  Figure others;       // thousandths of all cores that other processes used since the look before
  int64_t battery_power = -1;   // microwatts that batteries give, −1 where they do not say or are not discharging
  int64_t battery_stored = -1;  // microjoules in batteries that discharge, −1 likewise
};

constexpr int32_t most_root = 255;
constexpr int32_t most_path = most_root + 512;
// A directory with more entries is not read further.
constexpr int32_t most_entries = 512;
// Beyond what any sensor says: microvolts, microamperes, microwatt-hours.
constexpr int64_t most_reading = 1000000000000;

class Path {
 public:
  explicit Path(const char* root) : text_(bytes_, most_path) { text_ << root; }
  Path& operator<<(const char* part) {
    text_ << part;
    return *this;
  }
  const char* name() const { return bytes_; }

 private:
  char bytes_[most_path];
  Text text_;
};

// The first bytes of a regular file, ended by 0; their number, or −1 with errno. A pipe is not waited for.
inline int64_t file_begin(const char* path, char* text, int64_t room) {
  const int file = ::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return -1;
  struct stat status;
  int64_t count = -1;
  if (fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
    do {
      count = ::read(file, text, static_cast<size_t>(room - 1));
    } while (count < 0 && errno == EINTR);
  } else {
    errno = EISDIR;
  }
  const int error = errno;
  ::close(file);
  errno = error;
  if (count >= 0) text[count] = 0;
  return count;
}

inline Found not_there() { return errno == ENOENT || errno == ENOTDIR ? Found::absent : Found::unreadable; }

// A line of printable characters without its end.
inline Found read_word(const char* path, char* word, int32_t room) {
  const int64_t count = file_begin(path, word, room);
  if (count < 0) return not_there();
  int64_t length = 0;
  while (length < count && word[length] >= ' ' && word[length] < 127) length++;
  const bool whole = length > 0 && (length == count ? count < room - 1 : word[length] == '\n');
  word[length] = 0;
  return whole ? Found::known : Found::unreadable;
}

// A whole number with an optional sign, alone on its line.
inline Figure read_number(const char* path, int64_t least, int64_t most) {
  char word[32];
  Figure figure;
  figure.found = read_word(path, word, sizeof word);
  if (!figure.known()) return figure;
  const bool negative = word[0] == '-';
  const char* digit = negative ? word + 1 : word;
  figure.found = Found::unreadable;
  if (*digit == 0) return figure;
  for (; *digit != 0; digit++) {
    if (*digit < '0' || *digit > '9' || figure.value > INT64_MAX / 10 - 1) return figure;
    figure.value = figure.value * 10 + (*digit - '0');
  }
  if (negative) figure.value = -figure.value;
  if (figure.value >= least && figure.value <= most) figure.found = Found::known;
  return figure;
}

// Names in a directory, one by one, through the system's own call: opendir would allocate.
class Directory {
 public:
  explicit Directory(const char* path) {
    file_ = ::open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    found_ = file_ >= 0 ? Found::known : not_there();
  }
  ~Directory() {
    if (file_ >= 0) ::close(file_);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  Found found() const { return found_; }

  // Valid until the next one; null at the end.
  const char* next() {
#if defined(__linux__)
    while (file_ >= 0 && seen_ < most_entries) {
      if (at_ >= filled_) {
        filled_ = syscall(SYS_getdents64, file_, buffer_, sizeof buffer_);
        at_ = 0;
        if (filled_ <= 0) return nullptr;
      }
      // struct linux_dirent64: u64 inode, s64 offset, u16 length, u8 type, name.
      uint16_t length;
      memcpy(&length, buffer_ + at_ + 16, sizeof length);
      const char* name = buffer_ + at_ + 19;
      at_ += length;
      if (name[0] == '.') continue;
      seen_++;
      return name;
    }
#endif
    return nullptr;
  }

 private:
  int file_ = -1;
  Found found_ = Found::absent;
  int64_t filled_ = 0;
  int64_t at_ = 0;
  int32_t seen_ = 0;
  alignas(8) char buffer_[4096];
};

class Sensors {
 public:
  // Empty: the real system. False when the name is too long.
  bool set_root(const char* root) {
    *this = Sensors();
    if (strlen(root) > static_cast<size_t>(most_root)) return false;
    Text(root_, sizeof root_) << root;
    return true;
  }

  // Only zones of this type count; empty: all. False when the name is too long.
  bool set_zone(const char* zone) {
    Text(zone_, sizeof zone_) << zone;
    return strlen(zone) < sizeof zone_;
  }

  const char* root() const { return root_; }

  // `own` is the processor time that this process has used, in milliseconds.
  void read(double own, Readings* readings) {
    *readings = Readings();
    read_supplies(readings);
    readings->temperature = read_temperature();
    readings->others = read_others(own);
  }

 private:
  struct Supplies {
    int64_t batteries = 0;
    int64_t said = 0;      // batteries whose charge is known
    int64_t charges = 0;   // sum of thousandths
    int64_t capacity = 0;  // sum of what they hold when full, in one unit
    int64_t weighted = 0;  // sum of what they hold now, in the same unit
    int64_t sized = 0;     // batteries whose capacity is known
    bool strange = false;  // something whose type cannot be read
    bool outside = false;
    bool inside = false;
    bool unsure = false;
  };

  void read_supplies(Readings* readings) {
    Directory supplies((Path(root_) << "/sys/class/power_supply").name());
    Supplies sum;
    if (supplies.found() == Found::unreadable) sum.strange = true;
    while (const char* name = supplies.next()) {
      char word[64];
      const Found type = supply_word(name, "type", word);
      const bool battery = type == Found::known && same_text(word, "Battery");
      const bool ignored = type == Found::known && same_text(word, "UPS");
      // A mouse has a battery too.
      if (supply_word(name, "scope", word) == Found::known && same_text(word, "Device")) continue;
      if (type != Found::known) {
        sum.strange = sum.strange || type == Found::unreadable;
      } else if (battery) {
        add_battery(name, &sum, readings);
      } else if (!ignored) {
        const Figure online = supply_number(name, "online", 0, 16);
        if (online.known()) (online.value > 0 ? sum.outside : sum.inside) = true;
        if (online.found == Found::unreadable) sum.unsure = true;
      }
    }
    readings->battery = charge_of(sum);
    Figure& charging = readings->charging;
    if (sum.outside || (sum.inside && !sum.unsure && !sum.strange)) {
      charging.found = Found::known;
      charging.value = sum.outside ? 1 : 0;
    } else if (sum.inside || sum.unsure || sum.strange) {
      charging.found = Found::unreadable;
    }
  }

  void add_battery(const char* name, Supplies* sum, Readings* readings) {
    const Figure present = supply_number(name, "present", 0, 1);
    if (present.known() && present.value == 0) return;
    sum->batteries++;
    const Figure charge = supply_number(name, "capacity", 0, 100);
    if (charge.known()) {
      sum->said++;
      sum->charges += charge.value * 10;
      Figure full = supply_number(name, "energy_full", 1, most_reading);
      if (!full.known()) full = supply_number(name, "charge_full", 1, most_reading);
      if (full.known()) {
        sum->sized++;
        sum->capacity += full.value;
        sum->weighted += full.value * charge.value / 100;
      }
    }
    char status[64];
    if (supply_word(name, "status", status) != Found::known) {
      sum->unsure = true;
    } else if (same_text(status, "Charging") || same_text(status, "Full")) {
      sum->outside = true;
    } else if (same_text(status, "Discharging")) {
      sum->inside = true;
      add_power(name, readings);
    } else if (same_text(status, "Not charging")) {
      sum->inside = true;
    } else {
      sum->unsure = true;
    }
  }

  // Of a battery that discharges. Drivers differ in the sign of currents.
  void add_power(const char* name, Readings* readings) {
    const Figure voltage = supply_number(name, "voltage_now", 1, 1000000000);
    const Figure power = supply_number(name, "power_now", -most_reading, most_reading);
    const Figure current = supply_number(name, "current_now", -1000000000, 1000000000);
    if (power.known() || (current.known() && voltage.known())) {
      const int64_t given = power.known() ? power.value : current.value * voltage.value / 1000000;
      readings->battery_power = (readings->battery_power < 0 ? 0 : readings->battery_power) + (given < 0 ? -given : given);
    }
    const Figure energy = supply_number(name, "energy_now", 0, 1000000000);
    const Figure charge = supply_number(name, "charge_now", 0, 1000000000);
    int64_t stored = -1;
    // Microwatt-hours of 3,600 microjoules.
    if (energy.known()) stored = energy.value * 3600;
    if (!energy.known() && charge.known() && voltage.known()) stored = charge.value * (voltage.value / 1000) / 1000 * 3600;
    if (stored >= 0) readings->battery_stored = (readings->battery_stored < 0 ? 0 : readings->battery_stored) + stored;
  }

  // By what each battery holds where all say it, by their number otherwise.
  static Figure charge_of(const Supplies& sum) {
    Figure charge;
    if (sum.batteries == 0) {
      charge.found = sum.strange ? Found::unreadable : Found::absent;
    } else if (sum.said == 0) {
      charge.found = Found::unreadable;
    } else {
      charge.found = Found::known;
      charge.value = sum.sized == sum.said ? sum.weighted * 1000 / sum.capacity : sum.charges / sum.said;
    }
    return charge;
  }

  Figure read_temperature() const {
    Directory zones((Path(root_) << "/sys/class/thermal").name());
    Figure hottest;
    hottest.found = zones.found() == Found::known ? Found::absent : zones.found();
    // Whoever names a zone wants it watched: a machine without it cannot be said to be cool.
    if (zone_[0] != 0 && hottest.found == Found::absent) hottest.found = Found::unreadable;
    while (const char* name = zones.next()) {
      if (!starts_with(name, "thermal_zone")) continue;
      char type[64];
      if (zone_[0] != 0) {
        Path path(root_);
        const Found found = read_word((path << "/sys/class/thermal/" << name << "/type").name(), type, sizeof type);
        if (found != Found::known || !same_text(type, zone_)) continue;
      }
      Path path(root_);
      // Sensors that are off say −274 °C and the like.
      const Figure degrees = read_number((path << "/sys/class/thermal/" << name << "/temp").name(), -50000, 200000);
      if (!degrees.known()) {
        if (!hottest.known() && degrees.found == Found::unreadable) hottest.found = Found::unreadable;
      } else if (!hottest.known() || degrees.value > hottest.value) {
        hottest = degrees;
      }
    }
    return hottest;
  }

  // From the first line of /proc/stat: what was neither idle nor ours, of all cores' time since the look before.
  Figure read_others(double own) {
    Figure others;
    others.found = Found::unreadable;
    char text[256];
    if (file_begin((Path(root_) << "/proc/stat").name(), text, sizeof text) < 5 || !starts_with(text, "cpu ")) return others;
    // user nice system idle iowait irq softirq steal
    int64_t ticks[8];
    const char* at = text + 4;
    for (int32_t index = 0; index < 8; index++) {
      while (*at == ' ') at++;
      if (*at < '0' || *at > '9') return others;
      ticks[index] = 0;
      for (; *at >= '0' && *at <= '9'; at++) {
        if (ticks[index] > INT64_MAX / 1000) return others;
        ticks[index] = ticks[index] * 10 + (*at - '0');
      }
      if (*at != ' ' && *at != '\n') return others;
    }
    uint64_t all = 0;
    for (const int64_t tick : ticks) all += static_cast<uint64_t>(tick);
    const uint64_t busy = all - static_cast<uint64_t>(ticks[3] + ticks[4]) - static_cast<uint64_t>(ticks[7]);
    const double per_millisecond = static_cast<double>(sysconf(_SC_CLK_TCK)) / 1000.0;
    const double passed = all > all_ticks_ ? static_cast<double>(all - all_ticks_) : 0.0;
    const double used = busy > busy_ticks_ ? static_cast<double>(busy - busy_ticks_) : 0.0;
    const double ours = (own - own_) * per_millisecond;
    if (looked_ && passed > 0.0) {
      const double share = 1000.0 * (used - ours) / passed;
      others_ = share < 0.0 ? 0 : share > 1000.0 ? 1000 : static_cast<int64_t>(share);
      others_known_ = true;
    }
    if (!looked_ || passed > 0.0 || all < all_ticks_) {
      looked_ = true;
      all_ticks_ = all;
      busy_ticks_ = busy;
      own_ = own;
    }
    if (others_known_) {
      others.found = Found::known;
      others.value = others_;
    }
    return others;
  }

  Found supply_word(const char* supply, const char* file, char (&word)[64]) const {
    Path path(root_);
    return read_word((path << "/sys/class/power_supply/" << supply << "/" << file).name(), word, sizeof word);
  }

  Figure supply_number(const char* supply, const char* file, int64_t least, int64_t most) const {
    Path path(root_);
    return read_number((path << "/sys/class/power_supply/" << supply << "/" << file).name(), least, most);
  }

  char root_[most_root + 1] = {};
  char zone_[64] = {};
  bool looked_ = false;
  bool others_known_ = false;
  uint64_t all_ticks_ = 0;
  uint64_t busy_ticks_ = 0;
  double own_ = 0;
  int64_t others_ = 0;
};

}  // namespace heddle

#endif
