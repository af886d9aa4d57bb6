// The governor alone, with the clock of whoever writes to it: commands on standard input, lines of numbers and decisions
// on standard output. What it reads lies under the root that the policy names.
//
//   set POLICY     enter NOW     leave NOW     stand NOW OWN     measure NOW OWN     hurry     read ROOT
#include <stdio.h>
#include <stdlib.h>

#include "heddle_channel.h"
#include "heddle_governing.h"

namespace {

void print(const char* name, const heddle::Figure& figure) {
  if (figure.known()) printf(" %s=%lld", name, static_cast<long long>(figure.value));
  else printf(" %s=%s", name, figure.found == heddle::Found::absent ? "absent" : "unreadable");
}

void print(const heddle::Readings& readings) {
  print("battery", readings.battery);
  print("charging", readings.charging);
  print("temperature", readings.temperature);
  print("others", readings.others);
}

void tell(void*, const heddle::Decision& decision) {
  const char* const names[] = {"begun", "run", "rest", "hold"};
  printf("%lld:%s>%s gates=%d unread=%d at=%.0f", static_cast<long long>(decision.number), names[static_cast<int>(decision.from)],
         names[static_cast<int>(decision.to)], decision.gates, decision.unread, decision.at);
  print(decision.readings);
  printf(" | ");
}

const char* set(heddle::Governor& governor, char* rest) {
  heddle::GovernorPolicy policy;
  int64_t* const numbers[] = {&policy.duty,    &policy.period,         &policy.battery_floor, &policy.battery_margin,
                              &policy.ceiling, &policy.ceiling_margin, &policy.only_charging, &policy.only_idle,
                              &policy.busy,    &policy.busy_margin,    &policy.look};
  for (int64_t* number : numbers) *number = heddle::next_number(&rest);
  const char* zone = heddle::next_word(&rest);
  heddle::Sensors sensors;
  if (zone == nullptr || !sensors.set_root(rest) || !sensors.set_zone(heddle::same_text(zone, "-") ? "" : zone)) return "names";
  return governor.set(policy, sensors, tell, nullptr);
}

}  // namespace

int main() {
  heddle::Input input(STDIN_FILENO);
  heddle::Governor governor;
  while (char* line = input.line()) {
    const char* command = heddle::next_word(&line);
    if (command == nullptr) continue;
    if (heddle::same_text(command, "set")) {
      const char* fault = set(governor, line);
      printf("%s", fault == nullptr ? "ok" : fault);
    } else if (heddle::same_text(command, "hurry")) {
      governor.hurry();
    } else if (heddle::same_text(command, "read")) {
      heddle::Sensors sensors;
      heddle::Readings readings;
      if (sensors.set_root(line)) sensors.read(0, &readings);
      print(readings);
      printf(" power=%lld stored=%lld", static_cast<long long>(readings.battery_power),
             static_cast<long long>(readings.battery_stored));
    } else {
      const double now = static_cast<double>(heddle::next_number(&line));
      const double own = static_cast<double>(heddle::next_number(&line));
      if (heddle::same_text(command, "enter")) governor.enter(now);
      if (heddle::same_text(command, "leave")) governor.leave(now);
      if (heddle::same_text(command, "stand")) printf("%.3f", governor.stand(now, [own] { return own; }));
      if (heddle::same_text(command, "measure")) {
        governor.measure(now, own);
        const heddle::GovernorTimes& times = governor.times();
        const heddle::Energy& energy = governor.energy();
        printf("%.3f %.3f %.3f %.6f %.3f %d", times.computing, times.resting, times.held, energy.joules, energy.unmeasured,
               static_cast<int>(energy.by));
      }
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
