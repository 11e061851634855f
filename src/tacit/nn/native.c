// The small networks of planning, and rates of actions, each in one call: what `native.py` compiles where there is a compiler.
//
// A plan asks a network of some hundred units a few hundred times, with some ten rows each. The start of an operation of a tensor library
// then takes as long as its products. Here a block of rows goes through all layers and all steps before the next one begins, so that what
// is passed on stays in the nearest cache.
//
// Sums are made in float32, one row at a time and in one order: a row's numbers do not depend on the rows beside it. What is not finite
// stays so. Products are of bfloat16 with BFLOAT16, which needs instructions for them (AVX512_BF16), else of float32.

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef BFLOAT16
#include <immintrin.h>
#endif

#define ROWS 8 // of a block
#define GROUPS 8 // of features in an embedding
#define PANEL 3 // vectors of outputs that are summed side by side
#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

#ifdef BFLOAT16
typedef uint16_t number;
#define GROUP 2 // neighbouring inputs that one instruction multiplies
#else
typedef float number;
#define GROUP 1
#endif

// Weights: panels of PANEL vectors of outputs, the last one smaller; in a panel, groups of inputs; in a group, outputs; for each, its inputs.
typedef struct {
    int64_t inputs, outputs; // multiples of GROUP and LANES
    const number *weight;
    const float *bias; // (outputs)
} layer;

typedef struct {
    int64_t depth, widest;
    int64_t stream;           // numbers that residual blocks add to; 0 for none
    int64_t changes, leading; // numbers that a linear map says, and those that it shows the network beside it; 0 for no map
    float reach;              // how far that network sees
    const layer *layers;      // ReLU between them; or the first, two for each block with ReLU between them, and the last; or the map and two
} network;

int64_t lanes(void) { return LANES; }
int64_t group(void) { return GROUP; }
int64_t panel(void) { return PANEL; }

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec value) { *(vec *)to = value; }
INLINE vec relu(vec value) { return (vec)((mask)value & ~(value <= 0)); } // keeps NaN

INLINE void put(number *to, const float *from, int64_t count) {
#ifdef BFLOAT16
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, from + i, 4);
        uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; // to nearest, ties to even
        to[i] = (number)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16) | 0x40 : rounded);
    }
#else
    memcpy(to, from, 4 * count);
#endif
}

INLINE void put_vec(number *to, vec value) {
#ifdef BFLOAT16
    __m256bh narrow = _mm512_cvtneps_pbh((__m512)value);
    memcpy(to, &narrow, sizeof narrow);
#else
    store(to, value);
#endif
}

// `count` rows through `vectors` vectors of outputs.
INLINE void tile(const int count, const int vectors, const int is_last, const number *in, int64_t in_stride, const number *weight,
                 int64_t groups, const float *bias, void *out, int64_t out_stride, int64_t column) {
    vec sum[ROWS][PANEL];
    for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = load(bias + v * LANES);
    for (int64_t g = 0; g < groups; g++) {
#ifdef BFLOAT16
        __m512bh w[PANEL];
        for (int v = 0; v < vectors; v++) memcpy(&w[v], weight + (g * vectors + v) * LANES * GROUP, sizeof w[v]);
        for (int r = 0; r < count; r++) {
            int32_t both;
            memcpy(&both, in + r * in_stride + g * GROUP, sizeof both);
            __m512bh x = (__m512bh)_mm512_set1_epi32(both);
            for (int v = 0; v < vectors; v++) sum[r][v] = (vec)_mm512_dpbf16_ps((__m512)sum[r][v], w[v], x);
        }
#else
        vec w[PANEL];
        for (int v = 0; v < vectors; v++) w[v] = load(weight + (g * vectors + v) * LANES);
        for (int r = 0; r < count; r++)
            for (int v = 0; v < vectors; v++) sum[r][v] += in[r * in_stride + g] * w[v];
#endif
    }
    for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++) {
            int64_t at = r * out_stride + column + v * LANES;
            if (is_last) store((float *)out + at, sum[r][v]);
            else put_vec((number *)out + at, relu(sum[r][v]));
        }
}

// The inputs of some groups, `from` to before `to`, are added to `begun` (outputs).
INLINE void dense_of(const int count, const int is_last, const layer *l, int64_t from, int64_t to, const float *begun, const number *in,
                     int64_t in_stride, void *out, int64_t out_stride) {
    int64_t groups = to - from;
    const number *weight = l->weight;
    in += from * GROUP;
    for (int64_t column = 0; column < l->outputs; column += PANEL * LANES) {
        int64_t left = (l->outputs - column) / LANES, vectors = left < PANEL ? left : PANEL;
        const number *first = weight + from * GROUP * vectors * LANES;
        const float *sum = begun + column;
        if (vectors == 3) tile(count, 3, is_last, in, in_stride, first, groups, sum, out, out_stride, column);
        else if (vectors == 2) tile(count, 2, is_last, in, in_stride, first, groups, sum, out, out_stride, column);
        else tile(count, 1, is_last, in, in_stride, first, groups, sum, out, out_stride, column);
        weight += l->inputs * vectors * LANES;
    }
}

static void dense(int64_t rows, int is_last, const layer *l, const number *in, int64_t in_stride, void *out, int64_t out_stride) {
    int64_t groups = l->inputs / GROUP;
    if (rows == 1 && is_last) dense_of(1, 1, l, 0, groups, l->bias, in, in_stride, out, out_stride);
    else if (rows == 1) dense_of(1, 0, l, 0, groups, l->bias, in, in_stride, out, out_stride);
    else if (is_last) dense_of(ROWS, 1, l, 0, groups, l->bias, in, in_stride, out, out_stride);
    else dense_of(ROWS, 0, l, 0, groups, l->bias, in, in_stride, out, out_stride);
}

// Each row of (ROWS, stride) less its mean and over its spread, of `count` numbers; what follows them up to the next vector is zero.
static void normalize(int64_t rows, int64_t count, const float *in, number *to, int64_t stride) {
    int64_t padded = (count + LANES - 1) / LANES * LANES;
    for (int64_t r = 0; r < rows; r++, in += stride, to += stride) {
        vec sums = {0}, squares = {0};
        float sum = 0, square = 0;
        for (int64_t i = 0; i < padded; i += LANES) sums += load(in + i);
        for (int i = 0; i < LANES; i++) sum += sums[i];
        float mean = sum / count;
        for (int64_t i = 0; i < padded; i += LANES) {
            vec off = load(in + i) - mean;
            squares += off * off;
        }
        for (int i = 0; i < LANES; i++) square += squares[i];
        float scale = 1 / sqrtf((square - (padded - count) * mean * mean) / count + 1e-5f);
        for (int64_t i = 0; i < padded; i += LANES) put_vec(to + i, (load(in + i) - mean) * scale);
    }
}

// `apply` for residual blocks: what they add to stays in float32, and its norm is what they see.
static void apply_blocks(const network *n, int64_t rows, const number *in, int64_t in_stride, float *out, int64_t out_stride) {
    int64_t width = n->widest, all = rows == 1 ? 1 : ROWS;
    float stream[ROWS * width], change[ROWS * width];
    number seen[ROWS * width], hidden[ROWS * width];
    dense(rows, 1, &n->layers[0], in, in_stride, stream, width);
    for (int64_t i = 1; i + 1 < n->depth; i += 2) {
        normalize(all, n->stream, stream, seen, width);
        dense(rows, 0, &n->layers[i], seen, width, hidden, width);
        dense(rows, 1, &n->layers[i + 1], hidden, width, change, width);
        for (int64_t r = 0; r < all; r++)
            for (int64_t at = r * width; at < r * width + n->layers[0].outputs; at++) stream[at] += change[at];
    }
    normalize(all, n->stream, stream, seen, width);
    dense(rows, 1, &n->layers[n->depth - 1], seen, width, out, out_stride);
}

// What the first inputs of the first layer come to, which many rows share.
typedef struct {
    int64_t groups;     // of these inputs
    const float *begun; // the sums so far
} share;

// `apply` for a linear map and a network with one hidden layer beside it, which sees leading components within its reach.
static void apply_beside(const network *n, int64_t rows, share known, const number *in, int64_t in_stride, float *out, int64_t out_stride) {
    const layer *map = &n->layers[0];
    int64_t width = n->widest, all = rows == 1 ? 1 : ROWS, outputs = n->layers[2].outputs, groups = map->inputs / GROUP;
    float found[ROWS * width], near[n->leading];
    number seen[ROWS * width], hidden[ROWS * width];
    if (rows == 1) dense_of(1, 1, map, known.groups, groups, known.begun, in, in_stride, found, width);
    else dense_of(ROWS, 1, map, known.groups, groups, known.begun, in, in_stride, found, width);
    for (int64_t r = 0; r < all; r++) {
        for (int64_t i = 0; i < n->leading; i++) {
            float far = found[r * width + n->changes + i];
            near[i] = far > n->reach ? n->reach : far < -n->reach ? -n->reach : far; // keeps NaN
        }
        memset(seen + r * width, 0, sizeof(number) * n->layers[1].inputs);
        put(seen + r * width, near, n->leading);
    }
    dense(rows, 0, &n->layers[1], seen, width, hidden, width);
    dense(rows, 1, &n->layers[2], hidden, width, out, out_stride);
    for (int64_t r = 0; r < all; r++)
        for (int64_t i = 0; i < outputs; i++) out[r * out_stride + i] += found[r * width + i];
}

// A block of rows (ROWS, in_stride) through a network, into (ROWS, out_stride) float32.
static void apply(const network *n, int64_t rows, const number *in, int64_t in_stride, float *out, int64_t out_stride) {
    if (n->stream) {
        apply_blocks(n, rows, in, in_stride, out, out_stride);
        return;
    }
    if (n->leading) {
        apply_beside(n, rows, (share){0, n->layers[0].bias}, in, in_stride, out, out_stride);
        return;
    }
    number hidden[2][ROWS * n->widest];
    for (int64_t i = 0; i < n->depth; i++) {
        int is_last = i + 1 == n->depth;
        dense(rows, is_last, &n->layers[i], in, in_stride, is_last ? (void *)out : (void *)hidden[i % 2], is_last ? out_stride : n->widest);
        in = hidden[i % 2], in_stride = n->widest;
    }
}

// What the predictor of a world model knows of a block of rows: columns are the states, oldest first, the context and the action.
typedef struct {
    const network *net;
    int64_t history, state, context, actions, columns, outputs;
} predictor;

INLINE int64_t columns_of(const network *n) { return n->layers[0].inputs; }
INLINE int64_t outputs_of(const network *n) { return n->layers[n->depth - 1].outputs; }

// One step of a block: reads the action in `x` (ROWS, columns), moves `state` (ROWS, S) on, and the window of states in `x` with it.
static void advance(const predictor *p, int64_t rows, const share *known, number *x, float *state, float *change) {
    int64_t seen = p->history * p->state;
    if (known) apply_beside(p->net, rows, *known, x, p->columns, change, p->outputs);
    else apply(p->net, rows, x, p->columns, change, p->outputs);
    for (int64_t r = 0; r < rows; r++) {
        number *window = x + r * p->columns;
        for (int64_t i = 0; i < p->state; i++) state[r * p->state + i] += change[r * p->outputs + i];
        memmove(window, window + p->state, sizeof(number) * (seen - p->state));
        put(window + seen - p->state, state + r * p->state, p->state);
    }
}

// Fill `x` and `state` of one row from its history of latents (h, S + C).
static void begin_row(const predictor *p, const float *latents, number *x, float *state) {
    int64_t size = p->state + p->context;
    for (int64_t i = 0; i < p->history; i++) put(x + i * p->state, latents + i * size, p->state);
    const float *newest = latents + (p->history - 1) * size;
    put(x + p->history * p->state, newest + p->state, p->context);
    memcpy(state, newest, sizeof(float) * p->state);
}

// What the moments of one history (h, S + C) that are still in the window after t steps come to in a linear map, for each t: (h, width).
static void share_history(const predictor *p, const float *latents, float *begun, share *known) {
    const layer *map = &p->net->layers[0];
    number x[p->columns];
    float state[p->state];
    memset(x, 0, sizeof x);
    begin_row(p, latents, x, state);
    for (int64_t t = 0; t < p->history; t++) {
        float *sums = begun + t * map->outputs;
        known[t] = (share){(p->history - t) * p->state / GROUP, sums};
        dense_of(1, 1, map, 0, known[t].groups, map->bias, x + t * p->state, p->columns, sums, map->outputs);
    }
}

// Rows `first` to before `last` of B x K: histories (B, h, S + C) and standardised actions (B, K, H, A) -> latents (B, K, H, S + C).
void unroll(const network *net, int64_t first, int64_t last, int64_t candidates, int64_t horizon, int64_t history, int64_t state_size,
            int64_t context, int64_t actions_size, const float *histories, const float *actions, float *latents) {
    predictor p = {net, history, state_size, context, actions_size, columns_of(net), outputs_of(net)};
    int64_t size = state_size + context, seen = history * state_size + context;
    number x[ROWS * p.columns];
    float state[ROWS * state_size], change[ROWS * p.outputs], begun[net->leading ? history * net->layers[0].outputs : 1];
    share known[history];
    int64_t shared = -1; // whose history `known` is of
    memset(x, 0, sizeof x);
    for (int64_t row = first; row < last; row += ROWS) {
        int64_t rows = last - row < ROWS ? last - row : ROWS, owner = row / candidates;
        int is_shared = net->leading && rows > 1 && owner == (row + rows - 1) / candidates;
        if (is_shared && owner != shared) share_history(&p, histories + owner * history * size, begun, known), shared = owner;
        for (int64_t r = 0; r < rows; r++)
            begin_row(&p, histories + (row + r) / candidates * history * size, x + r * p.columns, state + r * state_size);
        for (int64_t t = 0; t < horizon; t++) {
            for (int64_t r = 0; r < rows; r++) put(x + r * p.columns + seen, actions + ((row + r) * horizon + t) * actions_size, actions_size);
            advance(&p, rows, is_shared && t < history ? &known[t] : NULL, x, state, change);
            for (int64_t r = 0; r < rows; r++) {
                float *to = latents + ((row + r) * horizon + t) * size;
                const float *newest = histories + ((row + r) / candidates * history + history - 1) * size;
                memcpy(to, state + r * state_size, sizeof(float) * state_size);
                memcpy(to + state_size, newest + state_size, sizeof(float) * context);
            }
        }
    }
}

// A goal policy followed in the model, rows `first` to before `last` of B x P: histories (B, h, D), goals (B, D) and strays (B, P, H, A), in
// units of the policy's own spread, -> physical actions (B, P, H, A). `scales`: mean and standard deviation of the actions as the policy
// knows them and as the model does, (4, A).
void follow(const network *net, const network *policy, int64_t first, int64_t last, int64_t count, int64_t horizon, int64_t history,
            int64_t state_size, int64_t context, int64_t actions_size, float least, float most, const float *scales, const float *histories,
            const float *goals, const float *strays, float *actions) {
    predictor p = {net, history, state_size, context, actions_size, columns_of(net), outputs_of(net)};
    int64_t size = state_size + context, known = columns_of(policy), answers = outputs_of(policy), a = actions_size;
    const float *mean = scales, *std = scales + a, *model_mean = scales + 2 * a, *model_std = scales + 3 * a;
    number x[ROWS * p.columns], asked[ROWS * known];
    float state[ROWS * state_size], change[ROWS * p.outputs], window[ROWS][history * size], question[known], answer[ROWS * answers];
    memset(x, 0, sizeof x);
    memset(asked, 0, sizeof asked);
    memset(question, 0, sizeof question);
    for (int64_t row = first; row < last; row += ROWS) {
        int64_t rows = last - row < ROWS ? last - row : ROWS;
        for (int64_t r = 0; r < rows; r++) {
            const float *from = histories + (row + r) / count * history * size;
            begin_row(&p, from, x + r * p.columns, state + r * state_size);
            memcpy(window[r], from, sizeof(float) * history * size);
        }
        for (int64_t t = 0; t < horizon; t++) {
            for (int64_t r = 0; r < rows; r++) {
                const float *newest = window[r] + (history - 1) * size, *goal = goals + (row + r) / count * size;
                for (int64_t i = 0; i < size; i++) {
                    question[i] = newest[i];
                    question[size + i] = goal[i];
                    question[2 * size + i] = newest[i] - goal[i];
                }
                for (int64_t i = 0; i < (history - 1) * size; i++) question[3 * size + i] = window[r][size + i] - window[r][i];
                put(asked + r * known, question, known);
            }
            apply(policy, rows, asked, known, answer, answers);
            for (int64_t r = 0; r < rows; r++) {
                int64_t at = ((row + r) * horizon + t) * a;
                float standard[a];
                for (int64_t i = 0; i < a; i++) {
                    float spread = answer[r * answers + a + i];
                    spread = spread < least ? least : spread > most ? most : spread;
                    actions[at + i] = answer[r * answers + i] * std[i] + mean[i] + strays[at + i] * (expf(spread) * std[i]);
                    standard[i] = (actions[at + i] - model_mean[i]) / model_std[i];
                }
                put(x + r * p.columns + history * state_size + context, standard, a);
            }
            if (t + 1 == horizon) break;
            advance(&p, rows, NULL, x, state, change);
            for (int64_t r = 0; r < rows; r++) { // the context stays
                memmove(window[r], window[r] + size, sizeof(float) * (history - 1) * size);
                memcpy(window[r] + (history - 1) * size, state + r * state_size, sizeof(float) * state_size);
            }
        }
    }
}

// Two embeddings of one latent, (2, features, groups).
static void embed(const network *net, int64_t rows, const float *latents, int64_t size, number *x, float *embedded) {
    int64_t columns = columns_of(net);
    for (int64_t r = 0; r < rows; r++) put(x + r * columns, latents + r * size, size);
    apply(net, rows, x, columns, embedded, outputs_of(net));
}

// Rows `first` to before `last` of B x N latents (B, N, D), and goals (B, D) -> steps to go (B, N). The network's outputs are ordered by
// embedding, feature and group.
void steps(const network *net, int64_t first, int64_t last, int64_t each, int64_t size, int64_t features, float scale, const float *latents,
           const float *goals, float *found) {
    int64_t outputs = outputs_of(net), half = features * GROUPS, columns = columns_of(net), at_goal = -1;
    number x[ROWS * columns];
    float here[ROWS * outputs], there[ROWS * outputs];
    memset(x, 0, sizeof x);
    for (int64_t row = first; row < last; row += ROWS) {
        int64_t rows = last - row < ROWS ? last - row : ROWS;
        embed(net, rows, latents + row * size, size, x, here);
        for (int64_t r = 0; r < rows; r++) {
            if ((row + r) / each != at_goal) {
                number alone[columns];
                memset(alone, 0, sizeof alone);
                at_goal = (row + r) / each;
                embed(net, 1, goals + at_goal * size, size, alone, there);
            }
            float most[GROUPS] = {0}, squares[GROUPS] = {0}, sum = 0;
            const float *u = here + r * outputs, *v = u + half;
            for (int64_t i = 0; i < half; i += GROUPS)
                for (int g = 0; g < GROUPS; g++) {
                    float one_way = u[i + g] - there[i + g], both_ways = v[i + g] - there[half + i + g];
                    most[g] = one_way > most[g] || one_way != one_way ? one_way : most[g]; // a NaN comes and stays
                    squares[g] += both_ways * both_ways;
                }
            for (int g = 0; g < GROUPS; g++) sum += most[g] + sqrtf(squares[g] + 1e-6f);
            found[row + r] = sum * (scale / GROUPS);
        }
    }
}

// Rows (B, K, H, A) of wishes, whole numbers, -> the nearest that are inside a range (A) and, one after the other, no further from the one
// before than a step (A). What was applied before the first lies between `below` and `above`, (B, A).
void in_reach(int64_t first, int64_t last, int64_t candidates, int64_t horizon, int64_t size, const double *low, const double *high,
              const double *step, const double *below, const double *above, const double *wanted, double *found) {
    for (int64_t row = first; row < last; row++)
        for (int64_t a = 0; a < size; a++) {
            double least = below[row / candidates * size + a], most = above[row / candidates * size + a];
            for (int64_t t = 0; t < horizon; t++) {
                int64_t at = (row * horizon + t) * size + a;
                double next = wanted[at], fast = least + step[a], slow = most - step[a];
                next = next < high[a] ? next : high[a];
                next = next > low[a] ? next : low[a];
                next = next < fast ? next : fast;
                least = most = found[at] = next > slow ? next : slow;
            }
        }
}
