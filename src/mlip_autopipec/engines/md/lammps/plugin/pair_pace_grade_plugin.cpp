// LAMMPS pair style "pace/extrapolation" as a plugin: the extrapolation grade of every atom by an active set.
//
//   pair_style  pace/extrapolation
//   pair_coeff  * * guard.yaml potential.asi Si O
//   fix         grade all pair 10 pace/extrapolation gamma 1
//
// Same input and output as ML-PACE. The basis may be one of no energy that only grades, over pair style "pace" by
// hybrid/overlay: it then costs nothing at steps without grade.

#include "pair_pace_plugin.h"

#include <ace/ace_b_basis.h>
#include <ace/ace_b_evaluator.h>

namespace LAMMPS_NS {

class PairPaceGradePlugin : public PairPaceBase {
 public:
  explicit PairPaceGradePlugin(LAMMPS *lmp) : PairPaceBase(lmp, "pace/extrapolation") {}

  ~PairPaceGradePlugin() override { memory->destroy(gamma); }

  void settings(int narg, char **arg) override
  {
    for (int i = 0; i < narg; ++i) {
      if (!strcmp(arg[i], "chunksize")) ++i;
      else if (strcmp(arg[i], "product") && strcmp(arg[i], "recursive"))
        error->all(FLERR, "Unknown pair_style pace/extrapolation keyword: {}", arg[i]);
    }
  }

  void coeff(int narg, char **arg) override
  {
    const int ntypes = atom->ntypes;
    if (narg != 4 + ntypes)
      error->all(FLERR, "pair_coeff * * <basis.yaml> <active set> needs one element for each atom type");
    allocate();
    map_element2type(narg - 4, arg + 4);
    try {
      basis = std::make_unique<ACEBBasisSet>(std::string(arg[2]));
      evaluator = std::make_unique<ACEBEvaluator>(*basis);
      evaluator->load_active_set(std::string(arg[3]));
    } catch (const std::exception &failure) {
      error->all(FLERR, "Cannot read ACE basis {} with active set {}: {}", arg[2], arg[3], failure.what());
    }
    take_elements(*basis, *evaluator, arg + 4, arg[2]);
    has_energy = false;
    for (const double coefficient : basis->get_all_coeffs())
      if (coefficient != 0.0) has_energy = true;
  }

  double init_one(int i, int j) override { return cutoff(*basis, *evaluator, i, j); }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    if (graded) {
      if (atom->nmax > most) {
        memory->destroy(gamma);
        most = atom->nmax;
        memory->create(gamma, most, "pair:gamma");
      }
      std::memset(gamma, 0, most * sizeof(double));
    }
    if (!graded && !has_energy) return;
    evaluator->compute_projections = graded;
    visit(*evaluator, [this](int i) {
      if (graded) gamma[i] = evaluator->max_gamma_grade;
    });
  }

  // What "fix pair" asks for: the flag says at which steps it wants the grade.
  void *extract(const char *name, int &dim) override
  {
    dim = 0;
    return strcmp(name, "gamma_flag") ? nullptr : &graded;
  }

  void *extract_peratom(const char *name, int &columns) override
  {
    columns = 0;
    return strcmp(name, "gamma") ? nullptr : gamma;
  }

 private:
  std::unique_ptr<ACEBBasisSet> basis;
  std::unique_ptr<ACEBEvaluator> evaluator;
  bool has_energy = true;
  int graded = 0, most = 0;
  double *gamma = nullptr;
};

Pair *make_pair_pace_grade(LAMMPS *lmp)
{
  return new PairPaceGradePlugin(lmp);
}

}    // namespace LAMMPS_NS
