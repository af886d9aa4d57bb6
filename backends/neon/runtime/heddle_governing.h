// The governor on the command line: a policy off a line, decisions and figures as JSON lines. Decisions are lines with
// "event", between replies and in the middle of a call; a reader that is slow delays the program, so none is lost. Knows
// no call and no program.
#ifndef HEDDLE_GOVERNING_H
#define HEDDLE_GOVERNING_H

#include "heddle_channel.h"
#include "heddle_governor.h"
#include "heddle_words.h"

namespace heddle {

class Governing {
 public:
  explicit Governing(Output& output) : output_(output) {}

  // `off`, or the numbers of a policy in the order of its struct, a zone or `-`, and the root to the end of the line.
  // Null, or what is wrong.
  const char* set(char* rest) {
    if (same_text(rest, "off")) {
      governor_.take_off();
      return nullptr;
    }
    GovernorPolicy policy;
    int64_t* const numbers[] = {&policy.duty,          &policy.period,    &policy.battery_floor, &policy.battery_margin,
                                &policy.ceiling,       &policy.ceiling_margin, &policy.only_charging, &policy.only_idle,
                                &policy.busy,          &policy.busy_margin,    &policy.look};
    for (int64_t* number : numbers) *number = next_number(&rest);
    const char* zone = next_word(&rest);
    if (zone == nullptr) return "a policy is eleven numbers, a zone and a root";
    Sensors sensors;
    if (!sensors.set_root(rest)) return "the root's name is too long";
    if (!sensors.set_zone(same_text(zone, "-") ? "" : zone)) return "the zone's name is too long";
    return governor_.set(policy, sensors, tell, this);
  }

  bool on() const { return governor_.on(); }
  bool hurries() const { return governor_.hurries(); }
  bool holds() const { return governor_.holds(); }
  void hurry() { governor_.hurry(); }
  void enter() { governor_.enter(milliseconds()); }
  void leave() { governor_.leave(milliseconds()); }
  double stand() { return governor_.stand(milliseconds(), own_milliseconds); }

  bool measure() {
    governor_.measure(milliseconds(), own_milliseconds());
    const GovernorTimes& times = governor_.times();
    const Energy& energy = governor_.energy();
    return output_.begin().field("ok", true).field("computing", times.computing).field("resting", times.resting)
        .field("held", times.held).field("joules", energy.joules).field("unmeasured", energy.unmeasured)
        .field("by", by_name(energy.by)).end();
  }

 private:
  static double milliseconds() { return now_microseconds() / 1000.0; }

  // Processor time of all threads of this process.
  static double own_milliseconds() {
    struct timespec time;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return 0;
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
  }

  static const char* standing_name(Standing standing) {
    const char* const names[] = {"begun", "run", "rest", "hold"};
    return names[static_cast<int32_t>(standing)];
  }

  static const char* by_name(MeasuredBy by) {
    const char* const names[] = {"nothing", "powercap", "battery", "both"};
    return names[static_cast<int32_t>(by)];
  }

  void figure(const char* key, const Figure& figure) {
    if (figure.known()) output_.field(key, figure.value);
    else output_.field(key, figure.found == Found::absent ? "absent" : "unreadable");
  }

  static void tell(void* self, const Decision& decision) { static_cast<Governing*>(self)->tell(decision); }

  void tell(const Decision& decision) {
    output_.begin().field("event", "decision").field("number", decision.number).field("milliseconds", decision.at)
        .field("from", standing_name(decision.from)).field("to", standing_name(decision.to))
        .field("gates", int64_t{decision.gates}).field("unread", int64_t{decision.unread}).field("rest", decision.rest);
    figure("battery", decision.readings.battery);
    figure("charging", decision.readings.charging);
    figure("temperature", decision.readings.temperature);
    figure("others", decision.readings.others);
    // Nobody listens any more: the input ends too.
    (void)output_.end();
  }

  Output& output_;
  Governor governor_;
};

}  // namespace heddle

#endif
