/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright the nightbench authors
 *
 * json_mutator: mutates documents as trees, so that readers behind the JSON gate see documents that pass it.
 * Half of the mutations are still those of raw bytes: include it in a target whose input is JSON text. */
#ifndef TESTS_FUZZ_JSON_MUTATOR_H
#define TESTS_FUZZ_JSON_MUTATOR_H

#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { MUTATOR_NODES_MAX = 4096, MUTATOR_CHANGES = 8 };

/* The parents and nodes of a tree, depth first; the root is not among them. */
static inline int mutator_list(cJSON *parent, cJSON **parents, cJSON **nodes, int count)
{
    for (cJSON *child = parent->child; child != NULL && count < MUTATOR_NODES_MAX; child = child->next) {
        parents[count] = parent;
        nodes[count++] = child;
        count = mutator_list(child, parents, nodes, count);
    }
    return count;
}

static inline cJSON *mutator_leaf(unsigned choice)
{
    static const double numbers[] = { 0,    1,          -1,         2,     3,     255,
                                      256,  65536,      1e9,        1e300, -1e30, 0.5,
                                      1e-9, 2147483647, 2147483648, -128,  4e9,   9007199254740993.0,
                                      64,   16,         1000,       1.1,   -0.0,  1e18 };
    static const char *const texts[] = { "", "x", "0x3C", "a/b~c", "\xc3\xa9", "\n", "../..", "0", "chip" };

    switch (choice % 8) {
    case 0:
        return cJSON_CreateNull();
    case 1:
        return cJSON_CreateBool(choice >> 3 & 1);
    case 2:
        return cJSON_CreateString(texts[(choice >> 3) % (sizeof texts / sizeof texts[0])]);
    case 3:
        return cJSON_CreateArray();
    case 4:
        return cJSON_CreateObject();
    default:
        return cJSON_CreateNumber(numbers[(choice >> 3) % (sizeof numbers / sizeof numbers[0])]);
    }
}

static inline void mutator_put(cJSON *parent, const char *key, cJSON *item)
{
    if (!cJSON_IsObject(parent))
        cJSON_AddItemToArray(parent, item);
    else if (!cJSON_HasObjectItem(parent, key))
        cJSON_AddItemToObject(parent, key, item);
    else
        cJSON_Delete(item);
}

/* One change to the tree, picked by a random word: delete, replace, copy elsewhere, exchange or nudge. */
static inline void mutator_change(cJSON *root, unsigned random)
{
    static cJSON *parents[MUTATOR_NODES_MAX], *nodes[MUTATOR_NODES_MAX];
    int count = mutator_list(root, parents, nodes, 0);

    if (count == 0)
        return;
    int at = (int)(random / 5 % (unsigned)count), other = (int)(random / 7919 % (unsigned)count);
    cJSON *node = nodes[at];
    char key[64];

    switch (random % 5) {
    case 0:
        cJSON_Delete(cJSON_DetachItemViaPointer(parents[at], node));
        return;
    case 1:
        snprintf(key, sizeof key, "%s", node->string != NULL ? node->string : "");
        cJSON_Delete(cJSON_DetachItemViaPointer(parents[at], node));
        mutator_put(parents[at], key, mutator_leaf(random >> 8));
        return;
    case 2:
        mutator_put(parents[other], node->string != NULL ? node->string : "x", cJSON_Duplicate(node, true));
        return;
    case 3:
        if (cJSON_IsString(node) && cJSON_IsString(nodes[other]) && node != nodes[other])
            cJSON_SetValuestring(node, nodes[other]->valuestring);
        else if (cJSON_IsNumber(node) && cJSON_IsNumber(nodes[other]))
            cJSON_SetNumberValue(node, nodes[other]->valuedouble);
        return;
    default:
        if (cJSON_IsNumber(node))
            cJSON_SetNumberValue(node, node->valuedouble + (random >> 8 & 1 ? 1 : -1));
        else if (cJSON_IsBool(node))
            node->type = cJSON_IsTrue(node) ? cJSON_False : cJSON_True;
        return;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    cJSON *root = NULL;

    if (seed % 2 == 0 || json_parse((const char *)data, size, &root, NULL) != 0)
        return LLVMFuzzerMutate(data, size, max_size);
    for (int i = 0; i <= (int)(seed / 2 % MUTATOR_CHANGES); i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        mutator_change(root, (unsigned)(state >> 33));
    }
    char *text = json_print(root, false);
    size_t length = text != NULL ? strlen(text) : 0;
    cJSON_Delete(root);
    if (length > 0 && length <= max_size) {
        memcpy(data, text, length);
        size = length;
    }
    free(text);
    return size;
}

#endif
