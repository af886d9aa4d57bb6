// Decides when a program computes, rests and holds: a duty cycle, and limits of battery, temperature, charger and other
// processes' work, each with a margin before work goes on. It is told the time and says how long to stand still; it never
// waits, so that tests have a clock of their own. No allocation. Knows no kernel and no program.
#ifndef HEDDLE_GOVERNOR_H
#define HEDDLE_GOVERNOR_H

#include "heddle_energy.h"
#include "heddle_sensors.h"

namespace heddle {

// What is computed does not depend on any of it. Shares are thousandths, temperatures thousandths of a degree Celsius,
// times milliseconds.
struct GovernorPolicy {
  int64_t duty = 1000;          // share of computing in computing and resting
  int64_t period = 10000;       // computing and resting together
  int64_t battery_floor = 0;    // 0: none
  int64_t battery_margin = 20;  // above the floor before work goes on
  int64_t ceiling = 0;          // 0: none
  int64_t ceiling_margin = 3000;
  int64_t only_charging = 0;
  int64_t only_idle = 0;
  int64_t busy = 250;           // others' share of all cores from which the machine is not idle
  int64_t busy_margin = 100;
  int64_t look = 5000;          // between two looks at the system's files
};

inline const char* policy_fault(const GovernorPolicy& policy) {
  if (policy.duty < 1 || policy.duty > 1000) return "the duty cycle is 1 to 1000 thousandths";
  if (policy.period < 1 || policy.period > 3600000) return "the period of the duty cycle is 1 ms to an hour";
  if (policy.battery_floor < 0 || policy.battery_floor > 1000) return "the battery floor is 0 to 1000 thousandths";
  if (policy.battery_margin < 0 || policy.battery_margin > 1000) return "the battery margin is 0 to 1000 thousandths";
  if (policy.ceiling < 0 || policy.ceiling > 200000) return "the temperature ceiling is 0 to 200000 thousandths of a degree";
  if (policy.ceiling_margin < 0 || policy.ceiling_margin > 100000) return "the margin of the ceiling is 0 to 100 degrees";
  if (policy.only_charging < 0 || policy.only_charging > 1) return "the charging gate is 0 or 1";
  if (policy.only_idle < 0 || policy.only_idle > 1) return "the idle gate is 0 or 1";
  if (policy.busy < 1 || policy.busy > 1000) return "the limit of the idle gate is 1 to 1000 thousandths";
  if (policy.busy_margin < 0 || policy.busy_margin >= policy.busy) return "the margin of the idle gate is below its limit";
  if (policy.look < 1 || policy.look > 3600000) return "a look comes after 1 ms to an hour";
  return nullptr;
}

enum class Standing { begun, run, rest, hold };

// What holds a program, as bits.
enum Gate : int32_t { gate_battery = 1, gate_temperature = 2, gate_charging = 4, gate_idle = 8 };

struct Decision {
  int64_t number;  // from 1, without gaps
  double at;       // milliseconds since the policy was set
  Standing from;
  Standing to;
  int32_t gates;   // of `hold`: limits that are not kept
  int32_t unread;  // of `hold`: limits whose figure is there but cannot be read
  double rest;     // of `rest`: how long, in milliseconds
  Readings readings;  // of the last look
};

struct GovernorTimes {
  double computing = 0;
  double resting = 0;
  double held = 0;
};

using TellDecision = void (*)(void* context, const Decision& decision);

class Governor {
 public:
  // `sensors` have their root and zone. Null and a decision told, or what is wrong with the policy.
  const char* set(const GovernorPolicy& policy, const Sensors& sensors, TellDecision tell, void* context) {
    if (const char* fault = policy_fault(policy)) return fault;
    *this = Governor();
    policy_ = policy;
    sensors_ = sensors;
    tell_ = tell;
    context_ = context;
    on_ = true;
    return nullptr;
  }

  void take_off() { on_ = false; }
  bool on() const { return on_; }

  // No rest any more, so that what is under way ends soon.
  void hurry() { hurries_ = true; }
  bool hurries() const { return hurries_; }
  bool holds() const { return on_ && standing_ == Standing::hold; }

  // A call begins or goes on; it ends or pauses. `now` in milliseconds never goes back; `own` as for Sensors::read.
  void enter(double now) {
    mark(now);
    inside_ = true;
  }

  void leave(double now) {
    mark(now);
    inside_ = false;
  }

  // Between two kernels: how long nothing may be computed, in milliseconds, after which it is to be asked again; 0: go on.
  template <typename OwnTime>
  double stand(double now, OwnTime own) {
    if (!on_) return 0;
    mark(now);
    if (now >= next_look_ || standing_ == Standing::begun) look(now, own());
    if ((gates_ | unread_) != 0) {
      if (standing_ != Standing::hold || told_gates_ != gates_ || told_unread_ != unread_) change(Standing::hold, now, 0);
      return left(next_look_, now);
    }
    if (standing_ == Standing::rest) {
      if (now < rest_end_ && !hurries_) return left(rest_end_ < next_look_ ? rest_end_ : next_look_, now);
      // Woken late: the next rest is shorter by as much, but no more than one.
      const double late = now - rest_end_;
      computed_ = late <= 0 ? 0 : -at_most(late * share() / (1.0 - share()), budget());
      change(Standing::run, now, 0);
      return 0;
    }
    if (standing_ != Standing::run) {
      // A hold was rest enough.
      if (standing_ == Standing::hold) computed_ = 0;
      change(Standing::run, now, 0);
      return 0;
    }
    if (policy_.duty < 1000 && !hurries_ && computed_ >= budget()) {
      const double rest = computed_ * (1.0 - share()) / share();
      rest_end_ = now + rest;
      change(Standing::rest, now, rest);
      return left(rest_end_ < next_look_ ? rest_end_ : next_look_, now);
    }
    return 0;
  }

  // Times and energy until now.
  void measure(double now, double own) {
    mark(now);
    if (!on_) return;
    Readings readings;
    sensors_.read(own, &readings);
    meter_.sample(sensors_.root(), readings, now);
  }

  const GovernorTimes& times() const { return times_; }
  const Energy& energy() const { return meter_.energy(); }

 private:
  static double at_most(double value, double most) { return value < most ? value : most; }
  static double left(double end, double now) { return end - now > 1.0 ? end - now : 1.0; }
  double share() const { return static_cast<double>(policy_.duty) / 1000.0; }
  double budget() const { return static_cast<double>(policy_.period) * share(); }

  // Time since the last mark belongs to what was done in it.
  void mark(double now) {
    const double passed = now > marked_ ? now - marked_ : 0;
    if (marked_once_ && standing_ == Standing::rest) times_.resting += passed;
    if (marked_once_ && standing_ == Standing::hold) times_.held += passed;
    if (marked_once_ && standing_ == Standing::run && inside_) {
      times_.computing += passed;
      computed_ += passed;
    }
    if (!marked_once_) begun_ = now;
    marked_once_ = true;
    marked_ = now > marked_ ? now : marked_;
  }

  void look(double now, double own) {
    sensors_.read(own, &readings_);
    meter_.sample(sensors_.root(), readings_, now);
    next_look_ = now + static_cast<double>(policy_.look);
    unread_ = 0;
    const int64_t floor = policy_.battery_floor;
    const int64_t enough = floor + policy_.battery_margin < 1000 ? floor + policy_.battery_margin : 1000;
    judge(gate_battery, floor > 0, readings_.battery, readings_.battery.value < floor, readings_.battery.value >= enough);
    const int64_t degrees = readings_.temperature.value;
    judge(gate_temperature, policy_.ceiling > 0, readings_.temperature, degrees > policy_.ceiling,
          degrees <= policy_.ceiling - policy_.ceiling_margin);
    judge(gate_charging, policy_.only_charging != 0, readings_.charging, readings_.charging.value == 0,
          readings_.charging.value != 0);
    judge(gate_idle, policy_.only_idle != 0, readings_.others, readings_.others.value >= policy_.busy,
          readings_.others.value < policy_.busy - policy_.busy_margin);
  }

  // A limit closes when it is passed and opens behind its margin; in between it stays. Of what the machine does not have
  // nothing is asked; what it has and does not say counts as passed, as long as that lasts.
  void judge(int32_t gate, bool asked, const Figure& figure, bool passed, bool clear) {
    if (!asked) return;
    if (figure.found == Found::unreadable) unread_ |= gate;
    if (figure.found == Found::absent || (figure.known() && clear)) gates_ &= ~gate;
    if (figure.known() && passed) gates_ |= gate;
  }

  void change(Standing to, double now, double rest) {
    const Decision decision = {++number_, now - begun_, standing_, to, gates_, unread_, rest, readings_};
    standing_ = to;
    told_gates_ = gates_;
    told_unread_ = unread_;
    if (tell_ != nullptr) tell_(context_, decision);
  }

  GovernorPolicy policy_;
  Sensors sensors_;
  EnergyMeter meter_;
  TellDecision tell_ = nullptr;
  void* context_ = nullptr;
  bool on_ = false;
  bool hurries_ = false;
  bool inside_ = false;
  bool marked_once_ = false;
  Standing standing_ = Standing::begun;
  int32_t gates_ = 0;
  int32_t unread_ = 0;
  int32_t told_gates_ = 0;
  int32_t told_unread_ = 0;
  int64_t number_ = 0;
  double begun_ = 0;
  double marked_ = 0;
  double next_look_ = 0;
  double computed_ = 0;
  double rest_end_ = 0;
  GovernorTimes times_;
  Readings readings_;
};

}  // namespace heddle

#endif
