// Runs lists of jobs through the unmodified classes of the published simulator: what `rialto sim validate --only V6 --only V7` is held against.
//
//   git clone https://github.com/google/cluster-scheduler-simulator peer && cp Driver.scala peer/src/main/scala/ && cd peer/src/main/scala
//   scalac -cp commons-math-2.2.jar -d out CoreClusterSimulation.scala Mesos*.scala Mono*.scala Omega*.scala Util.scala Driver.scala
//   scala -cp out:commons-math-2.2.jar ClusterSchedulingSimulation.Driver JOBS.csv MODEL T-JOB-SERVICE FIRST-SEED LAST-SEED
//
// One line a seed: model, t_job(service), seed, cores in use, batch jobs not complete, their mean wait in s, the part of the day in which
// their scheduler was busy, services' mean wait in s. Scala 2.11.12, commit b882f26643227fcc62739de7b814ef9b0634ecff of the simulator.
package ClusterSchedulingSimulation

import scala.io.Source

object Driver {
  val (batch, service, prefill) = ("Batch", "Service", "Prefill")
  val (day, perTask) = (86400.0, 0.005)

  def workloads(file: String): Map[String, Workload] = {
    val all = Seq(prefill, batch, service).map(name => name -> new Workload(name)).toMap
    for (line <- Source.fromFile(file).getLines.drop(1)) {
      val f = line.split(",")
      all(f(2)).addJob(Job(f(0).toLong, f(1).toDouble, f(3).toInt, f(4).toDouble, f(2), f(5).toDouble, f(6).toDouble))
    }
    all
  }

  def oneForAll(forBatch: Double, forService: Double) = {
    val desc = new SchedulerDesc("all", Map(batch -> forBatch, service -> forService), Map(batch -> perTask, service -> perTask))
    (new MonolithicSimulatorDesc(Seq(desc), day), Map(batch -> Seq("all"), service -> Seq("all")))
  }

  def describe(model: String, forService: Double): (ClusterSimulatorDesc, Map[String, Seq[String]]) = {
    val times = Seq(batch -> 0.1, service -> forService)
    val each = Map(batch -> Seq(batch), service -> Seq(service))
    model match {
      case "monolithic"       => oneForAll(forService, forService)
      case "monolithic-multi" => oneForAll(0.1, forService)
      case "omega-mesos" =>
        val descs = times.map { case (of, time) => new MesosSchedulerDesc(of, Map(of -> time), Map(of -> perTask), true) }
        (new MesosSimulatorDesc(descs, day, 0.001), each)
      case "omega-shared" =>
        val descs = times.map { case (of, time) => new OmegaSchedulerDesc(of, Map(of -> time), Map(of -> perTask)) }
        (new OmegaSimulatorDesc(descs, day, "resource-fit", "incremental"), each)
    }
  }

  def run(file: String, model: String, forService: Double): String = {
    val jobs = workloads(file)
    val (desc, schedulers) = describe(model, forService)
    val cell = new CellStateDesc(1000, 4, 16)
    val simulator =
      desc.newSimulator(0.1, perTask, 0.0, Map(), schedulers, cell, Seq(jobs(batch), jobs(service)), Seq(jobs(prefill)), false)
    simulator.run(Some(day), None)
    val scheduler = simulator.schedulers(schedulers(batch).head)
    val busy = (scheduler.totalUsefulTimeScheduling + scheduler.totalWastedTimeScheduling) / day
    val left = jobs(batch).getJobs.count(_.unscheduledTasks > 0)
    val waits = Seq(batch, service).map(jobs(_).avgJobQueueTimeTillFirstScheduled)
    "%.4f,%d,%.3f,%.4f,%.3f".format(simulator.avgCpuUtilization / 4000, left, waits(0), busy, waits(1))
  }

  def main(args: Array[String]) {
    val Array(file, model, forService, first, last) = args
    val out = System.out
    val silence = new java.io.OutputStream { def write(byte: Int) {} }
    for (seed <- first.toLong to last.toLong) {
      Seed.set(seed)
      out.println(s"$model,$forService,$seed," + Console.withOut(silence) { run(file, model, forService.toDouble) })
    }
  }
}
