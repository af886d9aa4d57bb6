// A plugin of qemu's user mode that counts how often each translated block runs and writes the counts when the program
// ends: one line of address, instructions, executions. Exact for programs with one thread (counters are not atomic). The
// interface is declared here because Debian ships the emulator without its header. Knows no program.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" {

struct qemu_plugin_tb;
struct qemu_info_t;

// As of version 1 of the interface, which every qemu since 4.2 up to 8.1 speaks.
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*callback)(uint64_t id, qemu_plugin_tb* block));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_plugin_tb* block, int operation, void* counter, uint64_t operand);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*callback)(uint64_t id, void* data), void* data);
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* block);
uint64_t qemu_plugin_tb_vaddr(const qemu_plugin_tb* block);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
}

namespace {

constexpr int add_operation = 0;

struct Block {
  Block* next;
  uint64_t address;
  uint64_t instructions;
  uint64_t executions;
};

Block* blocks = nullptr;
const char* output = nullptr;

// A block that is translated again gets a new record; whoever reads adds them up.
void on_translation(uint64_t, qemu_plugin_tb* translated) {
  Block* block = static_cast<Block*>(calloc(1, sizeof(Block)));
  if (block == nullptr) abort();
  block->address = qemu_plugin_tb_vaddr(translated);
  block->instructions = qemu_plugin_tb_n_insns(translated);
  block->next = blocks;
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_inline(translated, add_operation, &block->executions, 1);
}

// The last line says that nothing is missing.
void on_exit(uint64_t, void*) {
  FILE* file = fopen(output, "w");
  if (file == nullptr) abort();
  for (const Block* block = blocks; block != nullptr; block = block->next) {
    fprintf(file, "%llx %llu %llu\n", static_cast<unsigned long long>(block->address),
            static_cast<unsigned long long>(block->instructions), static_cast<unsigned long long>(block->executions));
  }
  fputs("end\n", file);
  if (fclose(file) != 0) abort();
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const qemu_info_t*, int count,
                                                                          char** operands) {
  constexpr const char* wanted = "output=";
  if (count != 1 || strncmp(operands[0], wanted, strlen(wanted)) != 0) return 1;
  // The operands do not outlive this call.
  output = strdup(operands[0] + strlen(wanted));
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_atexit_cb(id, on_exit, nullptr);
  return 0;
}
